"""Stage 1 of v1: the projector alone; 2e-3 at the top, 128 samples a step."""

_base_ = ['./default.py']

stage = dict(train=['projector'], gradient_checkpointing=True)
train_cfg = dict(global_batch=128)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
