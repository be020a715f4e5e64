"""LLaVA v1.5, 7B, for dialogue. Its test set is VQAv2, answered in sentences.

Weights: liuhaotian/llava-v1.5-7b, used as it is.
Memory:  weights alone 14.1 GB in float16, 28.3 GB in float32.
Run:     python tools/test.py configs/llava/llava-7b-v1.5_chat.py CHECKPOINT
"""

_base_ = ['./llava-7b-v1.5_vqa.py']

model = dict(preset='vqa_open')
