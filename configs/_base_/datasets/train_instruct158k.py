"""LLaVA-Instruct-158K (llava_instruct_150k.json, 157,712 samples) on COCO's train2017.

The smaller LLaVA-Instruct-80K is llava_instruct_80k.json in the same folder.
"""

_base_ = ['./train_lcs558k.py']

train_dataloader = dict(
    dataset=dict(
        ann_file='data/LLaVA-Instruct-150K/llava_instruct_150k.json',
        img_root='data/coco/train2017',
    ),
)
