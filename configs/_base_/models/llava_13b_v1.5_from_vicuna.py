"""LLaVA v1.5, 13B, where its own training starts: Vicuna v1.5 and stock CLIP, no projector yet."""

_base_ = ['./llava_13b_v1.5.py']

model = dict(
    tokenizer=dict(name_or_path='lmsys/vicuna-13b-v1.5'),
    lang_encoder=dict(pretrained='lmsys/vicuna-13b-v1.5'),
    max_tokens=2048,
    dtype='bfloat16',  # of the frozen parameters
)
