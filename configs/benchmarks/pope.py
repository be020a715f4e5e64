"""POPE, 9,000 questions about 500 images of COCO, in three files.

Files:  docs/datasets.md.
Score:  F1, accuracy, precision, recall, yes_ratio: means, and of each file.
        LLaVA-1.5-7B: F1 85.9.
Run:    python tools/test.py configs/benchmarks/pope.py CHECKPOINT
"""

_base_ = ['../_base_/benchmark.py']

test_dataloader = dict(
    dataset=dict(
        benchmark='pope',
        data_root='data',
        files=dict(
            random='pope/coco_pope_random.json',
            popular='pope/coco_pope_popular.json',
            adversarial='pope/coco_pope_adversarial.json',
            images='coco/val2014',
        ),
    ),
)
