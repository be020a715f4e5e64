"""Stage 2 of v1.6: the whole model; peak rate 1e-5, tower 2e-6; 128 samples per step."""

_base_ = ['./default.py']

stage = dict(train=['projector', 'language', 'tower'], gradient_checkpointing=True)
train_cfg = dict(global_batch=128)
optim_wrapper = dict(
    accumulative_counts=4,  # 4 samples in each of 8 processes
    optimizer=dict(lr=1e-5),
    paramwise_cfg=dict(tower_lr=2e-6),
)
