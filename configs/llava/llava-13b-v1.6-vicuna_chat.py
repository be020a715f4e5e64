"""LLaVA v1.6, 13B, for dialogue. Its test set is VQAv2, answered in sentences.

Weights: liuhaotian/llava-v1.6-vicuna-13b, used as it is.
Memory:  weights alone 26.7 GB in float16, 53.4 GB in float32.
Run:     python tools/test.py configs/llava/llava-13b-v1.6-vicuna_chat.py CHECKPOINT
"""

_base_ = ['./llava-13b-v1.6-vicuna_vqa.py']

model = dict(preset='vqa_open')
