"""LLaVA v1.0 of July 2023, 13B, where its training starts: Vicuna v1.3 and stock CLIP.

CLIP-L/14 at 224 px (256 tokens an image), one linear layer; no <im_start> and <im_end>.
Parameters: 13,324,290,048 = language model 13,015,864,320 (vocabulary of 32,000)
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
        pretrained='lmsys/vicuna-13b-v1.3',
    ),
)
