"""LLaVA v1.6, 13B, on your own data: all of it is tuned.

Weights: liuhaotian/llava-v1.6-vicuna-13b: it goes on from the released model.
Memory:  213.4 GB a process for weights, gradients and AdamW (computed), and activations;
         26.7 shared out over eight.
Trained: 13,338,246,144 parameters; 1e-5, tower 2e-6 at the top, 1 pass, 128 samples a step.
Source:  scripts/train/direct_finetune_clip.sh of LLaVA-NeXT, the authors' next project.
Run:     torchrun --nproc_per_node 8 tools/train.py \\
             configs/train/llava-13b-v1.6-vicuna_task.py --launcher pytorch \\
             --cfg-options strategy.type=FSDP
"""

_base_ = [
    '../_base_/models/llava_13b_v1.6_vicuna.py',
    '../_base_/datasets/train_own_336_anyres.py',
    '../_base_/schedules/tower_1e-5.py',
]

model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='liuhaotian/llava-v1.6-vicuna-13b'),
    max_tokens=4096,
    dtype='bfloat16',  # of what is frozen
)
