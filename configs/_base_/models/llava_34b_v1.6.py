"""LLaVA v1.6, 34B: Nous-Hermes-2-Yi-34B.

CLIP-L/14 at 336 px (1,176 to 2,928 tokens an image), two linear layers with GELU.
Parameters: 34,751,164,416 = language model 34,388,917,248 (vocabulary of 64,000)
+ tower 303,505,408 (without its last layer norm) + projector 58,734,592
+ image_newline 7,168.
The tower was tuned and is in the checkpoint; the stock CLIP must not replace it.
"""

_base_ = ['./llava_7b_v1.6_vicuna.py']

model = dict(
    tokenizer=dict(name_or_path='liuhaotian/llava-v1.6-34b'),
    lang_encoder=dict(
        vocab_size=64000,
        hidden_size=7168,
        intermediate_size=20480,
        num_hidden_layers=60,
        num_attention_heads=56,
        num_key_value_heads=8,
        rope_theta=5000000.0,
    ),
    template='chatml_direct',
)
