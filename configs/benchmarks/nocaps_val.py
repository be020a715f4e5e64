"""NoCaps, the 4,500 validation images, one caption generated for each.

Files:  docs/datasets.md.
Score:  Bleu_1 to Bleu_4, ROUGE_L, CIDEr. CIDEr of each domain.
Run:    python tools/test.py configs/benchmarks/nocaps_val.py CHECKPOINT
"""

_base_ = ['../_base_/benchmark.py']

test_dataloader = dict(
    dataset=dict(
        benchmark='nocaps',
        data_root='data/nocaps',
        files=dict(
            annotations='annotations/nocaps_val_4500_captions.json',
            images='images',
        ),
    ),
)
