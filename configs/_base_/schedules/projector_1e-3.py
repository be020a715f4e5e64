"""Stage 1 of v1.5 and v1.6: the projector alone; 1e-3 at the top, 256 samples a step."""

_base_ = ['./default.py']

stage = dict(train=['projector'], gradient_checkpointing=True)
train_cfg = dict(global_batch=256)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
