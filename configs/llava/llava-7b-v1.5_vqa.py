"""LLaVA v1.5, 7B, on VQAv2.

Weights: liuhaotian/llava-v1.5-7b, used as it is.
Memory:  weights alone 14.1 GB in float16, 28.3 GB in float32.
Run:     python tools/test.py configs/llava/llava-7b-v1.5_vqa.py CHECKPOINT
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/llava_7b_v1.5.py',
    '../_base_/datasets/vqav2.py',
]

model = dict(task='vqa', preset='vqa_short')
_base_.test_dataloader.dataset.pipeline[1].update(_base_.resize)
