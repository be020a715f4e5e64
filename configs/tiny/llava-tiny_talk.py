"""llava-tiny, stage 3: the whole model learns to answer, and to caption when it is asked to.

Weights: stage 2.
Trained: 2.4 million parameters; 1e-3 at the top, 54,000 of 108,000 conversations, 32 a step.
Run:     torchrun --nproc_per_node 2 tools/train.py configs/tiny/llava-tiny_talk.py \
             --launcher pytorch
"""

_base_ = [
    '../_base_/models/llava_tiny.py',
    '../_base_/datasets/train_tiny_112_pad.py',
    '../_base_/schedules/default.py',
]

model = dict(
    tokenizer=dict(name_or_path='data/tiny/tokenizer'),
    pack=True,  # no padding: faster, the same losses
    init_cfg=dict(type='Pretrained', checkpoint='work_dirs/llava-tiny_look/iter_2625'),
)
stage = dict(train=['tower', 'projector', 'language'])
train_dataloader = dict(dataset=dict(ann_file=[dict(ann_file='data/tiny/talk.json', weight=0.5)]))
train_cfg = dict(global_batch=32)
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(lr=1e-3, betas=(0.9, 0.98), weight_decay=0.1)
)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=250))
