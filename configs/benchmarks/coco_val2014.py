"""COCO captions, the 40,504 images of val2014.

Files:  docs/datasets.md.
Score:  Bleu_1 to Bleu_4, ROUGE_L, CIDEr.
Run:    python tools/test.py configs/benchmarks/coco_val2014.py CHECKPOINT
"""

_base_ = ['../_base_/benchmark.py']

test_dataloader = dict(
    dataset=dict(
        benchmark='coco',
        data_root='data/coco',
        files=dict(
            annotations='annotations/captions_val2014.json',
            images='val2014',
        ),
    ),
)
