"""LLaVA v0, 7B, on COCO captions.

Weights: liuhaotian/LLaVA-7b-delta-v0:
         tools/model_converters/llava-delta2mmpre.py (LLaMA-1 + the delta).
Memory:  weights alone 14.1 GB in float16, 28.2 GB in float32.
Score:   not measured yet: configs/llava/README.md.
Run:     python tools/test.py configs/llava/llava-7b-v0_caption.py CHECKPOINT
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/llava_7b_v0.py',
    '../_base_/datasets/coco_caption_224_square.py',
]

model = dict(task='caption', preset='coco_short')
