"""LLaVA v1.5, 7B, where its own training starts: Vicuna v1.5 and stock CLIP, no projector yet."""

_base_ = ['./llava_7b_v1.5.py']

model = dict(
    tokenizer=dict(name_or_path='lmsys/vicuna-7b-v1.5'),
    lang_encoder=dict(pretrained='lmsys/vicuna-7b-v1.5'),
    max_tokens=2048,
    dtype='bfloat16',  # of the frozen parameters
)
