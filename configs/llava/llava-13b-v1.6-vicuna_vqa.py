"""LLaVA v1.6, 13B, on VQAv2.

Weights: liuhaotian/llava-v1.6-vicuna-13b:
         the folder as it is.
Memory:  weights alone 26.7 GB in float16, 53.4 GB in float32.
Score:   not measured yet: configs/llava/README.md.
Run:     python tools/test.py configs/llava/llava-13b-v1.6-vicuna_vqa.py CHECKPOINT
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/llava_13b_v1.6_vicuna.py',
    '../_base_/datasets/vqav2_336_anyres.py',
]

model = dict(task='vqa', preset='vqa_short')
