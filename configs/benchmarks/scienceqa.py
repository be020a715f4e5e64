"""ScienceQA, the test split: 4,241 questions, 2,017 of them with an image.

Files:  docs/datasets.md.
Score:  accuracy; by subject NAT, SOC, LAN; by context TXT, IMG, NO; by grade G1-6, G7-12.
        IMG is the SQA of LLaVA-1.5's tables.
Run:    python tools/test.py configs/benchmarks/scienceqa.py CHECKPOINT
"""

_base_ = ['../_base_/benchmark.py']

test_dataloader = dict(
    dataset=dict(
        benchmark='scienceqa',
        data_root='data/scienceqa',
        files=dict(
            problems='problems.json',
            splits='pid_splits.json',
            images='images/test',
            questions=None,  # llava_test_CQM-A.json, where you have it
        ),
        settings=dict(split='test'),
    ),
)
