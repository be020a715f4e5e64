"""COCO captions, Karpathy's validation split, as mmpretrain lays it out under data/coco."""

test_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(
        type='mmpretrain.COCOCaption',
        data_root='data/coco',
        ann_file='annotations/coco_karpathy_val.json',
        pipeline=[
            dict(type='mmllava.LoadImage', on_error='record'),
            dict(type='mmllava.CLIPResize'),  # with the model's `resize`, which a leaf fills in
            dict(
                type='mmpretrain.PackInputs',
                meta_keys=['image_id', 'img_path', 'ori_shape', 'error'],
            ),
        ],
    ),
)
test_evaluator = dict(
    type='mmllava.COCOCaption',
    ann_file='data/coco/annotations/coco_karpathy_val_gt.json',
)
test_cfg = dict(type='mmllava.ResumableTestLoop')
