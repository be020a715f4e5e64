"""LLaVA-Instruct-80K (llava_instruct_80k.json, 80,000 rows) on COCO's train2017.

Pictures: 224 px, aspect 'square'.
"""

_base_ = ['./train_instruct158k_224_square.py']

train_dataloader = dict(
    dataset=dict(ann_file='data/LLaVA-Instruct-150K/llava_instruct_80k.json'),
)
