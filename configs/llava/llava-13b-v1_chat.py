"""LLaVA v1, 13B (v1-1), for dialogue. Its test set is VQAv2, answered in sentences.

Weights: liuhaotian/LLaVA-13b-delta-v1-1, a delta to LLaMA-1:
         tools/model_converters/llava-delta2mmpre.py merges the two.
Memory:  weights alone 26.6 GB in float16, 53.3 GB in float32.
Run:     python tools/test.py configs/llava/llava-13b-v1_chat.py CHECKPOINT
"""

_base_ = ['./llava-13b-v1_vqa.py']

model = dict(preset='vqa_open')
