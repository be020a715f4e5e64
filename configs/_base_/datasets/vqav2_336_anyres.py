"""VQAv2 test-dev, as mmpretrain lays it out under data/coco. The server scores it.

Writes the submission file. Pictures: 336 px, aspect 'anyres'.
Tiles need ori_shape, the size before any resize.
"""

_base_ = ['./vqav2_224_square.py']

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
                algorithm_keys=['question'],
                meta_keys=['question_id', 'image_id', 'img_path', 'ori_shape', 'error'],
            ),
        ],
    ),
)
