"""LLaVA v1.0, 7B, on Instruct-80K: adapters and projector are tuned.

Weights: lmsys/vicuna-7b-v1.3 and the projector of llava-7b-v1_pretrain.
Memory:  16.7 GB a process for weights, gradients and AdamW (computed), and activations.
Trained: 164,106,240 parameters; 2e-5 at the top, 1 pass, 128 samples a step.
Source:  scripts/finetune_lora.sh of LLaVA.
Run:     torchrun --nproc_per_node 8 tools/train.py \\
             configs/train/llava-7b-v1_lora.py --launcher pytorch
"""

_base_ = [
    '../_base_/models/llava_7b_v1.3.py',
    '../_base_/datasets/train_instruct80k_224_square.py',
    '../_base_/schedules/lora64_2e-5.py',
]

model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='work_dirs/llava-7b-v1_pretrain/iter_4361'),
    lang_encoder=dict(pretrained='lmsys/vicuna-7b-v1.3'),
    max_tokens=2048,
    dtype='bfloat16',  # of what is frozen
)
