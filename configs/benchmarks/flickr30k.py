"""Flickr30k captions, Karpathy's test split, 1,000 images, one caption generated for each.

Files:  docs/datasets.md.
Score:  Bleu_1 to Bleu_4, ROUGE_L, CIDEr.
Run:    python tools/test.py configs/benchmarks/flickr30k.py CHECKPOINT
"""

_base_ = ['../_base_/benchmark.py']

test_dataloader = dict(
    dataset=dict(
        benchmark='karpathy',
        data_root='data/flickr30k',
        files=dict(
            annotations='dataset_flickr30k.json',
            images='flickr30k-images',
        ),
        settings=dict(split='test'),
    ),
)
