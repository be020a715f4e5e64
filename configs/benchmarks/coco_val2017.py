"""COCO captions, the 5,000 images of val2017.

Files:  docs/datasets.md.
Score:  Bleu_1 to Bleu_4, ROUGE_L, CIDEr. LLaVA-1.5-7B by lmms-eval: CIDEr 110.4.
Run:    python tools/test.py configs/benchmarks/coco_val2017.py CHECKPOINT
"""

_base_ = ['../_base_/benchmark.py']

test_dataloader = dict(
    dataset=dict(
        benchmark='coco',
        data_root='data/coco',
        files=dict(
            annotations='annotations/captions_val2017.json',
            images='val2017',
        ),
    ),
)
