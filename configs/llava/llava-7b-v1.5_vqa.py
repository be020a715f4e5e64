"""LLaVA v1.5, 7B, on VQAv2.

Weights: liuhaotian/llava-v1.5-7b:
         the folder as it is.
Memory:  weights alone 14.1 GB in float16, 28.3 GB in float32.
Score:   not measured yet: configs/llava/README.md.
Run:     python tools/test.py configs/llava/llava-7b-v1.5_vqa.py CHECKPOINT
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/llava_7b_v1.5.py',
    '../_base_/datasets/vqav2_336_pad.py',
]

model = dict(task='vqa', preset='vqa_short')
