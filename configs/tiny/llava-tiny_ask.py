"""llava-tiny, stage 4: it learns to look for the answer in the picture, not in what was said.

Weights: stage 3.
Trained: 2.4 million parameters; 1e-3 at the top, 54,000 of 84,000 rows of questions, 32 a step.
Run:     torchrun --nproc_per_node 2 tools/train.py configs/tiny/llava-tiny_ask.py \
             --launcher pytorch
"""

_base_ = ['./llava-tiny_talk.py']

model = dict(init_cfg=dict(checkpoint='work_dirs/llava-tiny_talk/iter_1688'))
train_dataloader = dict(
    dataset=dict(
        ann_file=[
            dict(ann_file='data/tiny/ask.json', weight=0.5),
            dict(ann_file='data/tiny/talk.json', weight=0.11),
        ]
    )
)
