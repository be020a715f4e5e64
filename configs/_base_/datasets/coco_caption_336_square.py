"""COCO captions, Karpathy's validation split, as mmpretrain lays it out under data/coco.

Pictures: 336 px, aspect 'square'.
"""

_base_ = ['./coco_caption_224_square.py']

test_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='mmllava.LoadImage', on_error='record'),
            dict(type='mmllava.CLIPResize', size=336, aspect='square'),
            dict(
                type='mmpretrain.PackInputs',
                meta_keys=['image_id', 'img_path', 'ori_shape', 'error'],
            ),
        ],
    ),
)
