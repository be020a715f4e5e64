"""LLaVA v1.6, 13B: Vicuna v1.5 (LLaMA-2).

CLIP-L/14 at 336 px (1,176 to 2,928 tokens an image), two linear layers with GELU.
Parameters: 13,350,842,368 = language model 13,015,864,320 (vocabulary of 32,000)
+ tower 303,505,408 (without its last layer norm) + projector 31,467,520
+ image_newline 5,120.
The tower was tuned and is in the checkpoint; the stock CLIP must not replace it.
"""

_base_ = ['./llava_7b_v1.6_vicuna.py']

model = dict(
    tokenizer=dict(name_or_path='liuhaotian/llava-v1.6-vicuna-13b'),
    lang_encoder=dict(
        hidden_size=5120,
        intermediate_size=13824,
        num_hidden_layers=40,
        num_attention_heads=40,
    ),
)
