"""COCO captions, Karpathy's validation split, as mmpretrain lays it out under data/coco.

Pictures: 336 px, aspect 'anyres'. Tiles need ori_shape, the size before any resize.
"""

_base_ = ['./coco_caption_224_square.py']

test_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='mmllava.LoadImage', on_error='record'),
            dict(
                type='mmllava.CLIPResize',
                size=336,
                aspect='anyres',
                image_grid_pinpoints=[
                    (336, 672),
                    (672, 336),
                    (672, 672),
                    (1008, 336),
                    (336, 1008),
                ],
            ),
            dict(
                type='mmpretrain.PackInputs',
                meta_keys=['image_id', 'img_path', 'ori_shape', 'error'],
            ),
        ],
    ),
)
