"""Stage 1 of v1: the projector alone; peak rate 2e-3, 128 samples per step."""

_base_ = ['./default.py']

stage = dict(train=['projector'], gradient_checkpointing=True)
train_cfg = dict(global_batch=128)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
