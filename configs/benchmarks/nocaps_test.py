"""NoCaps, the 10,600 test images.

Files:  docs/datasets.md.
Score:  by the server, from captions_results.json.
Run:    python tools/test.py configs/benchmarks/nocaps_test.py CHECKPOINT
"""

_base_ = ['../_base_/benchmark.py']

test_dataloader = dict(
    dataset=dict(
        benchmark='nocaps',
        data_root='data/nocaps',
        files=dict(
            annotations='annotations/nocaps_test_image_info.json',
            images='images',
        ),
    ),
)
