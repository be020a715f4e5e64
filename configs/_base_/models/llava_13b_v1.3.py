"""LLaVA v1.0 of July 2023, 13B: Vicuna v1.3 (LLaMA-1), no start and end words.

CLIP-L/14 at 224 px (256 tokens a picture), one linear layer.
Parameters: 13,324,290,048 = language model 13,015,864,320 (32,000 rows)
+ tower 303,177,728 (without its last layer norm) + projector 5,248,000.
"""

_base_ = ['./llava_7b_v1.3.py']

model = dict(
    tokenizer=dict(name_or_path='lmsys/vicuna-13b-v1.3'),
    lang_encoder=dict(
        hidden_size=5120,
        intermediate_size=13824,
        num_hidden_layers=40,
        num_attention_heads=40,
    ),
)
