"""LLaVA v1.5, 13B, on your own data: language model and projector are tuned.

Weights: liuhaotian/llava-v1.5-13b: it goes on from the released model.
Memory:  209.4 GB a process for weights, gradients and AdamW (computed), and activations;
         26.2 shared out over eight.
Trained: 13,047,331,840 parameters; 2e-5 at the top, 1 pass, 128 samples a step.
Source:  scripts/v1_5/finetune_task.sh of LLaVA.
Run:     torchrun --nproc_per_node 8 tools/train.py \\
             configs/train/llava-13b-v1.5_task.py --launcher pytorch \\
             --cfg-options strategy.type=FSDP
"""

_base_ = [
    '../_base_/models/llava_13b_v1.5.py',
    '../_base_/datasets/train_own_336_pad.py',
    '../_base_/schedules/whole_2e-5.py',
]

model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='liuhaotian/llava-v1.5-13b'),
    max_tokens=2048,
    dtype='bfloat16',  # of what is frozen
)
