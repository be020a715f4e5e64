"""MMBench, dev, each question once for each of its options.

Files:  docs/datasets.md.
Score:  accuracy: right in every round; vanilla: in the first.
Run:    python tools/test.py configs/benchmarks/mmbench_en_circular.py CHECKPOINT
"""

_base_ = ['../_base_/benchmark.py']

test_dataloader = dict(
    dataset=dict(
        benchmark='mmbench',
        data_root='data/mmbench',
        files=dict(
            questions='mmbench_dev_20230712.tsv',
        ),
        settings=dict(circular=True),
    ),
)
