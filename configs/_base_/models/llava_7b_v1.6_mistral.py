"""LLaVA v1.6, 7B: Mistral-7B-Instruct-v0.2.

CLIP-L/14 at 336 px (1,176 to 2,928 tokens an image), two linear layers with GELU.
Parameters: 7,566,221,312 = language model 7,241,732,096 (vocabulary of 32,000)
+ tower 303,505,408 (without its last layer norm) + projector 20,979,712
+ image_newline 4,096.
The tower was tuned and is in the checkpoint; the stock CLIP must not replace it.
"""

_base_ = ['./llava_7b_v1.6_vicuna.py']

model = dict(
    tokenizer=dict(name_or_path='liuhaotian/llava-v1.6-mistral-7b'),
    lang_encoder=dict(
        model_type='mistral',
        intermediate_size=14336,
        num_key_value_heads=8,
        sliding_window=None,  # Instruct-v0.2 attends to everything; transformers' default is 4096
        rope_theta=1000000.0,
        max_position_embeddings=32768,
    ),
    template='mistral_instruct',
)
