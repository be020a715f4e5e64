"""Stage 2 of v1 and v1.5: language model and projector; peak rate 2e-5, 128 samples per step."""

_base_ = ['./default.py']

stage = dict(train=['projector', 'language'], gradient_checkpointing=True)
train_cfg = dict(global_batch=128)
optim_wrapper = dict(optimizer=dict(lr=2e-5))
