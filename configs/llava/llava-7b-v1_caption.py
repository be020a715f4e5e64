"""LLaVA v1, 7B (Lightning v1-1), on COCO captions.

Weights: liuhaotian/LLaVA-Lightning-7B-delta-v1-1, a delta to LLaMA-1:
         tools/model_converters/llava-delta2mmpre.py merges the two.
Memory:  weights alone 14.1 GB in float16, 28.2 GB in float32.
Run:     python tools/test.py configs/llava/llava-7b-v1_caption.py CHECKPOINT
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/llava_7b_v1.py',
    '../_base_/datasets/coco_caption.py',
]

model = dict(task='caption', preset='coco_short')
_base_.test_dataloader.dataset.pipeline[1].update(_base_.resize)
