"""llava-tiny, stage 3: the whole model learns captions, answers and dialogue.

Weights: stage 2.
Trained: 2.4 million parameters; peak rate 1e-3, tower 1e-4; 137,025 of 304,500
         conversations, 16 per step.
Run:     torchrun --nproc_per_node 2 tools/train.py projects/llava_tiny/configs/llava-tiny_talk.py \
             --launcher pytorch
"""

_base_ = [
    '../../../configs/_base_/models/llava_tiny.py',
    './_base_/scenes.py',
    '../../../configs/_base_/schedules/default.py',
]

model = dict(
    tokenizer=dict(name_or_path='data/tiny/tokenizer'),
    pack=True,  # no padding: faster, the same losses
    init_cfg=dict(type='Pretrained', checkpoint='work_dirs/llava-tiny_align/iter_2363'),
)
stage = dict(train=['tower', 'projector', 'language'])
train_dataloader = dict(
    batch_size=8,  # per process, one on each core
    dataset=dict(ann_file=[dict(ann_file='data/tiny/talk.json', weight=0.45)]),
)
train_cfg = dict(global_batch=16)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(lr=1e-3, betas=(0.9, 0.98), weight_decay=0.1),
    paramwise_cfg=dict(tower_lr=1e-4),  # stage 1 has trained it
)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=500))
_base_.train_dataloader.dataset.pipeline[1].update(_base_.resize)
