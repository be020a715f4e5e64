"""LLaVA v1.0, 13B (lightning preview), for dialogue. Its test set is VQAv2, answered in sentences.

Weights: liuhaotian/llava-llama-2-13b-chat-lightning-preview, used as it is.
Memory:  weights alone 26.6 GB in float16, 53.3 GB in float32.
Run:     python tools/test.py configs/llava/llava-13b-llama2_chat.py CHECKPOINT
"""

_base_ = ['./llava-13b-llama2_vqa.py']

model = dict(preset='vqa_open')
