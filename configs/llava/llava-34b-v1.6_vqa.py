"""LLaVA v1.6, 34B, on VQAv2.

Weights: liuhaotian/llava-v1.6-34b, used as it is.
Memory:  weights alone 69.5 GB in float16, 139.0 GB in float32.
Run:     python tools/test.py configs/llava/llava-34b-v1.6_vqa.py CHECKPOINT
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/llava_34b_v1.6.py',
    '../_base_/datasets/vqav2.py',
]

model = dict(task='vqa', preset='vqa_short')
_base_.test_dataloader.dataset.pipeline[1].update(_base_.resize)
