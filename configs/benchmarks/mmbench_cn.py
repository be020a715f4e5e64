"""MMBench in Chinese, dev 20231003.

Files:  docs/datasets.md.
Score:  accuracy, by our rules; the server, from mmbench_submission.xlsx, has the last word.
Run:    python tools/test.py configs/benchmarks/mmbench_cn.py CHECKPOINT
"""

_base_ = ['../_base_/benchmark.py']

test_dataloader = dict(
    dataset=dict(
        benchmark='mmbench_cn',
        data_root='data/mmbench',
        files=dict(
            questions='mmbench_dev_cn_20231003.tsv',
        ),
    ),
)
