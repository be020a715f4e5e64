"""llava-tiny, stage 1: tower, projector and language model learn together, from nothing.

Weights: none; all random.
Trained: 2.4 million parameters; 1e-3 at the top, 1 pass over 84,000 pictures, 32 a step.
Run:     python tools/tiny/make_data.py
         torchrun --nproc_per_node 2 tools/train.py configs/tiny/llava-tiny_align.py \
             --launcher pytorch
"""

_base_ = [
    '../_base_/models/llava_tiny.py',
    '../_base_/datasets/train_tiny_112_pad.py',
    '../_base_/schedules/default.py',
]

model = dict(template='plain', tokenizer=dict(name_or_path='data/tiny/tokenizer'))
train_dataloader = dict(dataset=dict(ann_file='data/tiny/align.json', template='plain'))
stage = dict(train=['tower', 'projector', 'language'])
train_cfg = dict(global_batch=32)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(lr=1e-3))
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=250))
