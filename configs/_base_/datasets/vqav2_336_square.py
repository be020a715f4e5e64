"""VQAv2 test-dev, as mmpretrain lays it out under data/coco. The server scores it.

Writes the submission file. Pictures: 336 px, aspect 'square'.
"""

_base_ = ['./vqav2_224_square.py']

test_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='mmllava.LoadImage', on_error='record'),
            dict(type='mmllava.CLIPResize', size=336, aspect='square'),
            dict(
                type='mmpretrain.PackInputs',
                algorithm_keys=['question'],
                meta_keys=['question_id', 'image_id', 'img_path', 'ori_shape', 'error'],
            ),
        ],
    ),
)
