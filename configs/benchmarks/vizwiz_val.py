"""VizWiz, the 4,319 validation questions, unanswerable ones included.

Files:  docs/datasets.md.
Score:  accuracy; by type of answer, unanswerable among them.
Run:    python tools/test.py configs/benchmarks/vizwiz_val.py CHECKPOINT
"""

_base_ = ['../_base_/benchmark.py']

test_dataloader = dict(
    dataset=dict(
        benchmark='vizwiz',
        data_root='data/vizwiz',
        files=dict(
            annotations='Annotations/val.json',
            images='val',
        ),
    ),
)
