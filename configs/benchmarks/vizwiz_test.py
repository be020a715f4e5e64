"""VizWiz, the 8,000 test questions.

Files:  docs/datasets.md.
Score:  by the server, from vizwiz_submission.json.
Run:    python tools/test.py configs/benchmarks/vizwiz_test.py CHECKPOINT
"""

_base_ = ['../_base_/benchmark.py']

test_dataloader = dict(
    dataset=dict(
        benchmark='vizwiz',
        data_root='data/vizwiz',
        files=dict(
            annotations='Annotations/test.json',
            images='test',
        ),
    ),
)
