"""Stage 2 from v1.5 on with LoRA of rank 128: 2e-4, projector 2e-5, 128 samples per step."""

_base_ = ['./default.py']

stage = dict(
    train=['projector'], lora=dict(r=128, alpha=256, dropout=0.05), gradient_checkpointing=True
)
train_cfg = dict(global_batch=128)
optim_wrapper = dict(optimizer=dict(lr=2e-4), paramwise_cfg=dict(projector_lr=2e-5))
