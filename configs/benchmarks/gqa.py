"""GQA, the 12,578 questions of testdev_balanced.

Files:  docs/datasets.md.
Score:  accuracy; binary, open. LLaVA-1.5-7B: 62.0.
Run:    python tools/test.py configs/benchmarks/gqa.py CHECKPOINT
"""

_base_ = ['../_base_/benchmark.py']

test_dataloader = dict(
    dataset=dict(
        benchmark='gqa',
        data_root='data/gqa',
        files=dict(
            questions='testdev_balanced_questions.json',
            images='images',
        ),
    ),
)
