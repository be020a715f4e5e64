"""Your own data: data/mine.json, its pictures below data/images (docs/datasets.md).

Pictures: 336 px, aspect 'anyres'. A batch is of pictures or of text.
"""

_base_ = ['./train_next779k_336_anyres.py']

train_dataloader = dict(dataset=dict(ann_file='data/mine.json', img_root='data/images'))
