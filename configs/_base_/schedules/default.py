"""Shared by every training run: AdamW, 3 % warm-up then cosine, one checkpoint kept.

As LLaVA trains (Hugging Face's Trainer, 4.37): no weight decay, gradients clipped to
norm 1, bfloat16. A schedule gives learning rate and samples per step, a leaf the epochs.
"""

_base_ = ['../default_runtime.py']

train_cfg = dict(type='mmllava.StepLoop', max_epochs=1)
optim_wrapper = dict(
    type='mmllava.BFloat16OptimWrapper',
    constructor='mmllava.PartwiseOptimConstructor',
    optimizer=dict(type='AdamW', lr=2e-5, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = dict(type='mmllava.WarmupCosineLR', ratio=0.03, by_epoch=False)
default_hooks = dict(
    # One line per step, as the original logs, with the loss of that step alone.
    logger=dict(interval=1, log_metric_by_epoch=False),
    checkpoint=dict(
        _delete_=True, type='mmllava.SafeCheckpointHook', interval=500, max_keep_ckpts=1
    ),
)
custom_hooks = [dict(type='mmllava.SpeedHook')]
log_processor = dict(by_epoch=False, window_size=1, num_digits=6)
randomness = dict(seed=42)  # the Trainer's
