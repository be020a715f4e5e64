"""LLaVA v1.5, 7B, on your own data: tunes adapters and projector.

Weights: liuhaotian/llava-v1.5-7b: it starts from the released model.
Memory:  19.5 GB per process for weights, gradients and AdamW (computed), plus activations.
Trained: 340,795,392 parameters; peak rate 2e-4; 1 epoch, 128 samples per step.
Source:  scripts/v1_5/finetune_task_lora.sh of LLaVA.
Run:     torchrun --nproc_per_node 8 tools/train.py \\
             configs/train/llava-7b-v1.5_task-lora.py --launcher pytorch
"""

_base_ = [
    '../_base_/models/llava_7b_v1.5.py',
    '../_base_/datasets/train_own.py',
    '../_base_/schedules/lora128_2e-4.py',
]

model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='liuhaotian/llava-v1.5-7b'),
    max_tokens=2048,
    dtype='bfloat16',  # of the frozen parameters
)
_base_.train_dataloader.dataset.pipeline[1].update(_base_.resize)
