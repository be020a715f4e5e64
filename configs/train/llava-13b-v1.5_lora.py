"""LLaVA v1.5, 13B, on mix665k: adapters and projector are tuned.

Weights: lmsys/vicuna-13b-v1.5 and the projector of llava-13b-v1.5_pretrain.
Memory:  35.2 GB a process for weights, gradients and AdamW (computed), and activations.
Trained: 532,162,560 parameters; 2e-4 at the top, 1 pass, 128 samples a step.
Source:  scripts/v1_5/finetune_lora.sh of LLaVA.
Run:     torchrun --nproc_per_node 8 tools/train.py \\
             configs/train/llava-13b-v1.5_lora.py --launcher pytorch
"""

_base_ = [
    '../_base_/models/llava_13b_v1.5.py',
    '../_base_/datasets/train_mix665k_336_pad.py',
    '../_base_/schedules/lora128_2e-4.py',
]

model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='work_dirs/llava-13b-v1.5_pretrain/iter_2181'),
    tokenizer=dict(name_or_path='lmsys/vicuna-13b-v1.5'),
    lang_encoder=dict(pretrained='lmsys/vicuna-13b-v1.5'),
    max_tokens=2048,
    dtype='bfloat16',  # of what is frozen
)
