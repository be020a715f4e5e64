"""LLaVA v1.0, 13B (lightning preview): LLaMA-2-Chat 13B.

CLIP-L/14 at 224 px (256 tokens an image), one linear layer.
Parameters: 13,324,290,048 = language model 13,015,864,320 (vocabulary of 32,000)
+ tower 303,177,728 (without its last layer norm) + projector 5,248,000.
"""

_base_ = ['./llava_13b_v1.py']

model = dict(
    tokenizer=dict(name_or_path='liuhaotian/llava-llama-2-13b-chat-lightning-preview'),
    lang_encoder=dict(vocab_size=32000, rms_norm_eps=1e-05, max_position_embeddings=4096),
    template='llava_llama_2',
    use_im_start_end=False,
)
