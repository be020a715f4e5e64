"""LLaVA-Instruct-158K (llava_instruct_150k.json, 157,712 rows) on COCO's train2017.

Pictures: 224 px, aspect 'square'.
"""

_base_ = ['./train_lcs558k_224_square.py']

train_dataloader = dict(
    dataset=dict(
        ann_file='data/LLaVA-Instruct-150K/llava_instruct_150k.json',
        img_root='data/coco/train2017',
        template='vicuna_v1',
    ),
)
