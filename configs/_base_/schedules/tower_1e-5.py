"""Stage 2 of v1.6: all is tuned, 1e-5 at the top, the tower 2e-6; 128 samples a step."""

_base_ = ['./default.py']

stage = dict(train=['projector', 'language', 'tower'], gradient_checkpointing=True)
train_cfg = dict(global_batch=128)
optim_wrapper = dict(
    accumulative_counts=4,  # 4 rows in each of 8 processes
    optimizer=dict(lr=1e-5),
    paramwise_cfg=dict(tower_lr=2e-6),
)
