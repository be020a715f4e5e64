"""LLaVA v1.5, 13B: Vicuna v1.5 (LLaMA-2).

CLIP-L/14 at 336 px (576 tokens an image), two linear layers with GELU.
Parameters: 13,350,837,248 = language model 13,015,864,320 (vocabulary of 32,000)
+ tower 303,505,408 (without its last layer norm) + projector 31,467,520.
"""

_base_ = ['./llava_7b_v1.5.py']

model = dict(
    tokenizer=dict(name_or_path='liuhaotian/llava-v1.5-13b'),
    lang_encoder=dict(
        hidden_size=5120,
        intermediate_size=13824,
        num_hidden_layers=40,
        num_attention_heads=40,
    ),
)
