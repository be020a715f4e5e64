"""VQAv2, the 214,354 questions about val2014.

Files:  docs/datasets.md.
Score:  accuracy; yes/no, number, other.
Run:    python tools/test.py configs/benchmarks/vqav2_val.py CHECKPOINT
"""

_base_ = ['../_base_/benchmark.py']

test_dataloader = dict(
    dataset=dict(
        benchmark='vqav2',
        data_root='data/coco',
        files=dict(
            questions='annotations/v2_OpenEnded_mscoco_val2014_questions.json',
            annotations='annotations/v2_mscoco_val2014_annotations.json',
            images='val2014',
        ),
    ),
)
