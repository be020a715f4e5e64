"""SEED-Bench, 14,232 questions about images, 5,009 about a frame of a video.

Files:  docs/datasets.md.
Score:  accuracy; image, video; each type. LLaVA-1.5-7B: 58.6.
Run:    python tools/test.py configs/benchmarks/seed.py CHECKPOINT
"""

_base_ = ['../_base_/benchmark.py']

test_dataloader = dict(
    dataset=dict(
        benchmark='seed',
        data_root='data/seed',
        files=dict(
            questions='SEED-Bench.json',
            images='.',
        ),
    ),
)
