"""llava-tiny, stage 2: the whole model learns to answer, and to caption when it is asked to.

Weights: stage 1.
Trained: 2.4 million parameters; 1e-3 at the top, 1 pass over 96,000 conversations, 32 a step.
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
    init_cfg=dict(type='Pretrained', checkpoint='work_dirs/llava-tiny_align/iter_2625'),
)
stage = dict(train=['tower', 'projector', 'language'])
train_dataloader = dict(sampler=dict(_delete_=True, type='mmllava.ModalityLengthSampler'))
train_cfg = dict(global_batch=32)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(lr=1e-3))
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=250))
