"""OK-VQA, the 5,046 questions about val2014.

Files:  docs/datasets.md.
Score:  accuracy; by type of answer.
Run:    python tools/test.py configs/benchmarks/okvqa.py CHECKPOINT
"""

_base_ = ['../_base_/benchmark.py']

test_dataloader = dict(
    dataset=dict(
        benchmark='okvqa',
        data_root='data/coco',
        files=dict(
            questions='annotations/OpenEnded_mscoco_val2014_questions.json',
            annotations='annotations/mscoco_val2014_annotations.json',
            images='val2014',
        ),
    ),
)
