"""Captions of 1,000 scenes of the small world, five references each.

Pictures: 112 px, aspect 'pad'. ``held-out`` in the place of ``test`` in the three paths: the
combinations that training never shows.
"""

_base_ = ['./coco_caption_224_square.py']

test_dataloader = dict(
    batch_size=50,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        data_root='data/tiny',
        ann_file='test.json',
        data_prefix=dict(img_path='images'),
        pipeline=[
            dict(type='mmllava.LoadImage', on_error='record'),
            dict(type='mmllava.CLIPResize', size=112, aspect='pad'),
            dict(
                type='mmpretrain.PackInputs',
                meta_keys=['image_id', 'img_path', 'ori_shape', 'error'],
            ),
        ],
    ),
)
test_evaluator = dict(ann_file='data/tiny/test_gt.json')
