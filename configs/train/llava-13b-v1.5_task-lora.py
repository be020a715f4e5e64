"""LLaVA v1.5, 13B, on your own data: adapters and projector are tuned.

Weights: liuhaotian/llava-v1.5-13b: it goes on from the released model.
Memory:  35.2 GB a process for weights, gradients and AdamW (computed), and activations.
Trained: 532,162,560 parameters; 2e-4 at the top, 1 pass, 128 samples a step.
Source:  scripts/v1_5/finetune_task_lora.sh of LLaVA.
Run:     torchrun --nproc_per_node 8 tools/train.py \\
             configs/train/llava-13b-v1.5_task-lora.py --launcher pytorch
"""

_base_ = [
    '../_base_/models/llava_13b_v1.5.py',
    '../_base_/datasets/train_own_336_pad.py',
    '../_base_/schedules/lora128_2e-4.py',
]

model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='liuhaotian/llava-v1.5-13b'),
    max_tokens=2048,
    dtype='bfloat16',  # of what is frozen
)
