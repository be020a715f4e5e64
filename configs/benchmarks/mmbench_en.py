"""MMBench, the 4,377 questions of dev 20230712.

Files:  docs/datasets.md.
Score:  accuracy, by our rules; the server, from mmbench_submission.xlsx, has the last word.
Run:    python tools/test.py configs/benchmarks/mmbench_en.py CHECKPOINT
"""

_base_ = ['../_base_/benchmark.py']

test_dataloader = dict(
    dataset=dict(
        benchmark='mmbench',
        data_root='data/mmbench',
        files=dict(
            questions='mmbench_dev_20230712.tsv',
        ),
    ),
)
