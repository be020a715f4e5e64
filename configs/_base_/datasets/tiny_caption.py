"""Captions of 1,000 scenes of llava-tiny's world, five references each.

With ``held-out`` in place of ``test`` in the three paths: the combinations that training never
shows.
"""

_base_ = ['./coco_caption.py']

test_dataloader = dict(
    batch_size=50,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        data_root='data/tiny',
        ann_file='test.json',
        data_prefix=dict(img_path='images'),
    ),
)
test_evaluator = dict(ann_file='data/tiny/test_gt.json')
