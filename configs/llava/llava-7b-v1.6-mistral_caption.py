"""LLaVA v1.6, 7B, on COCO captions.

Weights: liuhaotian/llava-v1.6-mistral-7b:
         the folder as it is.
Memory:  weights alone 15.1 GB in float16, 30.3 GB in float32.
Score:   not measured yet: configs/llava/README.md.
Run:     python tools/test.py configs/llava/llava-7b-v1.6-mistral_caption.py CHECKPOINT
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/llava_7b_v1.6_mistral.py',
    '../_base_/datasets/coco_caption_336_anyres.py',
]

model = dict(task='caption', preset='coco_short')
