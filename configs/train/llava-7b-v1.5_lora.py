"""LLaVA v1.5, 7B, on mix665k: tunes adapters and projector.

Weights: lmsys/vicuna-7b-v1.5 and the projector of llava-7b-v1.5_pretrain.
Memory:  19.5 GB per process for weights, gradients and AdamW (computed), plus activations.
Trained: 340,795,392 parameters; peak rate 2e-4; 1 epoch, 128 samples per step.
Source:  scripts/v1_5/finetune_lora.sh of LLaVA.
Run:     torchrun --nproc_per_node 8 tools/train.py \\
             configs/train/llava-7b-v1.5_lora.py --launcher pytorch
"""

_base_ = [
    '../_base_/models/llava_7b_v1.5_from_vicuna.py',
    '../_base_/datasets/train_mix665k.py',
    '../_base_/schedules/lora128_2e-4.py',
]

model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='work_dirs/llava-7b-v1.5_pretrain/iter_2181')
)
_base_.train_dataloader.dataset.pipeline[1].update(_base_.resize)
