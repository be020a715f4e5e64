"""llava-tiny from nothing: the whole model, 16 rows a step on two cores, AdamW to 1e-3.

Float32, since a processor's bfloat16 is no faster at this size; weight decay and the shorter
memory of gradients are what small models from random weights like.
"""

_base_ = ['./default.py']

stage = dict(train=['tower', 'projector', 'language'])
train_cfg = dict(global_batch=16)
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(lr=1e-3, betas=(0.9, 0.98), weight_decay=0.1)
)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=500))
