"""LLaVA v1.0, 13B at 336 px, for dialogue. Its test set is VQAv2, answered in sentences.

Weights: liuhaotian/llava-v1-0719-336px-lora-merge-vicuna-13b-v1.3, used as it is.
Memory:  weights alone 26.6 GB in float16, 53.3 GB in float32.
Run:     python tools/test.py configs/llava/llava-13b-v1.3-336px_chat.py CHECKPOINT
"""

_base_ = ['./llava-13b-v1.3-336px_vqa.py']

model = dict(preset='vqa_open')
