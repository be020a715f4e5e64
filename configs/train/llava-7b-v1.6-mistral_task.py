"""LLaVA v1.6, 7B (Mistral), on your own data: all of it is tuned.

Weights: liuhaotian/llava-v1.6-mistral-7b: it goes on from the released model.
Memory:  120.9 GB a process for weights, gradients and AdamW (computed), and activations;
         15.1 shared out over eight.
Trained: 7,553,625,088 parameters; 1e-5, tower 2e-6 at the top, 1 pass, 128 samples a step.
Source:  scripts/train/direct_finetune_clip.sh of LLaVA-NeXT, the authors' next project.
Run:     torchrun --nproc_per_node 8 tools/train.py \\
             configs/train/llava-7b-v1.6-mistral_task.py --launcher pytorch \\
             --cfg-options strategy.type=FSDP
"""

_base_ = [
    '../_base_/models/llava_7b_v1.6_mistral.py',
    '../_base_/datasets/train_own_336_anyres.py',
    '../_base_/schedules/tower_1e-5.py',
]

model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='liuhaotian/llava-v1.6-mistral-7b'),
    max_tokens=4096,
    dtype='bfloat16',  # of what is frozen
)
train_dataloader = dict(dataset=dict(template='mistral_instruct'))
