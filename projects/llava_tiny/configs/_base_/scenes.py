"""Drawn scenes, as projects/llava_tiny/tools/make_data.py writes them."""

_base_ = ['../../../../configs/_base_/datasets/train_lcs558k.py']

train_dataloader = dict(
    batch_size=16,  # per process, one on each core
    num_workers=1,
    dataset=dict(
        ann_file='data/tiny/talk.json',
        img_root='data/tiny/images',
        max_skipped=0,
    ),
)
