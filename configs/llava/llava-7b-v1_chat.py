"""LLaVA v1, 7B (Lightning v1-1), for dialogue. Its test set is VQAv2, answered in sentences.

Weights: liuhaotian/LLaVA-Lightning-7B-delta-v1-1, a delta to LLaMA-1:
         tools/model_converters/llava-delta2mmpre.py merges the two.
Memory:  weights alone 14.1 GB in float16, 28.2 GB in float32.
Run:     python tools/test.py configs/llava/llava-7b-v1_chat.py CHECKPOINT
"""

_base_ = ['./llava-7b-v1_vqa.py']

model = dict(preset='vqa_open')
