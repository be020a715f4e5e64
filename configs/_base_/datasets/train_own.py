"""Your own data: data/mine.json, its images below data/images (docs/datasets.md).

A batch has samples with images, or text only.
"""

_base_ = ['./train_mix665k.py']

train_dataloader = dict(dataset=dict(ann_file='data/mine.json', img_root='data/images'))
