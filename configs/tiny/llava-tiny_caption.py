"""llava-tiny, on captions of its drawn world.

Weights: mmllava/assets/llava-tiny, in the package:
         get_model('llava-tiny_caption', pretrained=True).
Memory:  4.8 MB in float16, 9.6 MB in float32.
Score:   configs/tiny/README.md.
Run:     python tools/test.py configs/tiny/llava-tiny_caption.py mmllava/assets/llava-tiny
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/llava_tiny.py',
    '../_base_/datasets/tiny_caption.py',
]

model = dict(task='caption', preset='coco_short')
_base_.test_dataloader.dataset.pipeline[1].update(_base_.resize)
