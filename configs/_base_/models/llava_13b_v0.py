"""LLaVA v0, 13B: LLaMA-1 13B with <im_patch>, <im_start>, <im_end>.

CLIP-L/14 at 224 px (256 tokens an image), one linear layer.
Parameters: 13,324,320,768 = language model 13,015,895,040 (vocabulary of 32,003)
+ tower 303,177,728 (without its last layer norm) + projector 5,248,000.
"""

_base_ = ['./llava_7b_v0.py']

model = dict(
    tokenizer=dict(name_or_path='liuhaotian/LLaVA-13b-delta-v0'),
    lang_encoder=dict(
        vocab_size=32003,
        hidden_size=5120,
        intermediate_size=13824,
        num_hidden_layers=40,
        num_attention_heads=40,
    ),
)
