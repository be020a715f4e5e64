"""MMBench, dev, each question once for each of its options.

A file that has the rounds of its questions, as the released one, is asked as it is: the same
as mmbench_en.py. Of a question without them, the rounds are made.

Files:  docs/datasets.md.
Score:  accuracy: right in every round; vanilla: in the first, the row with an id below
        1,000,000.
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
