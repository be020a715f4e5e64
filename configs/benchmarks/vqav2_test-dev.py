"""VQAv2, the 107,394 questions of test-dev.

Files:  docs/datasets.md.
Score:  by the server, from vqa_submission.json, which has a line for all of test2015.
Run:    python tools/test.py configs/benchmarks/vqav2_test-dev.py CHECKPOINT
"""

_base_ = ['../_base_/benchmark.py']

test_dataloader = dict(
    dataset=dict(
        benchmark='vqav2',
        data_root='data/coco',
        files=dict(
            questions='annotations/v2_OpenEnded_mscoco_test-dev2015_questions.json',
            all_questions='annotations/v2_OpenEnded_mscoco_test2015_questions.json',
            images='test2015',
        ),
        settings=dict(image_name='COCO_test2015_{:012d}.jpg'),
    ),
)
