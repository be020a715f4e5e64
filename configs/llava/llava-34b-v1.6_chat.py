"""LLaVA v1.6, 34B, for dialogue. Its test set is VQAv2, answered in sentences.

Weights: liuhaotian/llava-v1.6-34b, used as it is.
Memory:  weights alone 69.5 GB in float16, 139.0 GB in float32.
Run:     python tools/test.py configs/llava/llava-34b-v1.6_chat.py CHECKPOINT
"""

_base_ = ['./llava-34b-v1.6_vqa.py']

model = dict(preset='vqa_open')
