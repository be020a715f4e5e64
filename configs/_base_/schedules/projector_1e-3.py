"""Stage 1 of v1.5 and v1.6: the projector alone; peak rate 1e-3, 256 samples per step."""

_base_ = ['./default.py']

stage = dict(train=['projector'], gradient_checkpointing=True)
train_cfg = dict(global_batch=256)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
