"""MMBench, dev, each question once for each of its options.

A file that already has the rounds of its questions, like the released one, is used unchanged and
equals mmbench_en.py. For a question without them, the rounds are generated.

Files:  docs/datasets.md.
Score:  accuracy: right in every round; vanilla: in the first, the record with an id below
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
