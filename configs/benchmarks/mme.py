"""MME, 2,374 questions, two about each image.

Files:  docs/datasets.md.
Score:  perception (to 2000), cognition (to 800), each task (to 200).
        LLaVA-1.5-7B: perception 1510.7.
Run:    python tools/test.py configs/benchmarks/mme.py CHECKPOINT
"""

_base_ = ['../_base_/benchmark.py']

test_dataloader = dict(
    dataset=dict(
        benchmark='mme',
        data_root='data/mme',
        files=dict(
            root='MME_Benchmark_release_version',
        ),
    ),
)
