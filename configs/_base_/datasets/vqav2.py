"""VQAv2 test-dev, as mmpretrain lays it out under data/coco. The server scores it.

Writes the submission file.
"""

test_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(
        type='mmpretrain.COCOVQA',
        data_root='data/coco',
        data_prefix='test2015',
        question_file='annotations/v2_OpenEnded_mscoco_test-dev2015_questions.json',
        pipeline=[
            dict(type='mmllava.LoadImage', on_error='record'),
            dict(type='mmllava.CLIPResize'),  # with the model's `resize`, which a leaf fills in
            dict(
                type='mmpretrain.PackInputs',
                algorithm_keys=['question'],
                meta_keys=['question_id', 'image_id', 'img_path', 'ori_shape', 'error'],
            ),
        ],
    ),
)
test_evaluator = dict(type='mmpretrain.ReportVQA', file_path='vqa_test-dev.json')
test_cfg = dict(type='mmllava.ResumableTestLoop')
