"""COCO captions, Karpathy's validation split, 5,000 images.

Files:  docs/datasets.md.
Score:  Bleu_1 to Bleu_4, ROUGE_L, CIDEr.
Run:    python tools/test.py configs/benchmarks/coco_karpathy_val.py CHECKPOINT
"""

_base_ = ['../_base_/benchmark.py']

test_dataloader = dict(
    dataset=dict(
        benchmark='karpathy',
        data_root='data/coco',
        files=dict(
            annotations='annotations/dataset_coco.json',
            images='.',
        ),
        settings=dict(split='val'),
    ),
)
