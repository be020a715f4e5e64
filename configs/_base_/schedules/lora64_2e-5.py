"""Stage 2 of v1 with LoRA of rank 64: adapters and projector at 2e-5, 128 samples per step."""

_base_ = ['./default.py']

stage = dict(
    train=['projector'], lora=dict(r=64, alpha=16, dropout=0.05), gradient_checkpointing=True
)
train_cfg = dict(global_batch=128)
optim_wrapper = dict(optimizer=dict(lr=2e-5))
