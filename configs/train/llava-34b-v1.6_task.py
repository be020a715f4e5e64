"""LLaVA v1.6, 34B, on your own data: all of it is tuned.

Weights: liuhaotian/llava-v1.6-34b: it goes on from the released model.
Memory:  555.8 GB a process for weights, gradients and AdamW (computed), and activations;
         34.7 shared out over sixteen (69.5 over eight, and activations, are too much for 80).
Trained: 34,738,568,192 parameters; 1e-5, tower 2e-6 at the top, 1 pass, 128 samples a step.
Source:  scripts/train/direct_finetune_clip.sh of LLaVA-NeXT, the authors' next project.
Run:     srun --nodes 2 --ntasks-per-node 8 --gpus-per-node 8 python tools/train.py \\
             configs/train/llava-34b-v1.6_task.py --launcher slurm --cfg-options \\
             strategy.type=FSDP optim_wrapper.accumulative_counts=2
"""

_base_ = [
    '../_base_/models/llava_34b_v1.6.py',
    '../_base_/datasets/train_own_336_anyres.py',
    '../_base_/schedules/tower_1e-5.py',
]

model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='liuhaotian/llava-v1.6-34b'),
    max_tokens=4096,
    dtype='bfloat16',  # of what is frozen
)
train_dataloader = dict(dataset=dict(template='chatml_direct'))
