"""LLaVA v1.6, 7B, for dialogue. Its test set is VQAv2, answered in sentences.

Weights: liuhaotian/llava-v1.6-mistral-7b, used as it is.
Memory:  weights alone 15.1 GB in float16, 30.3 GB in float32.
Run:     python tools/test.py configs/llava/llava-7b-v1.6-mistral_chat.py CHECKPOINT
"""

_base_ = ['./llava-7b-v1.6-mistral_vqa.py']

model = dict(preset='vqa_open')
