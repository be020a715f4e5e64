"""LLaVA v1.5, 13B, on LCS-558K: the projector is aligned.

Weights: lmsys/vicuna-13b-v1.5 and CLIP; a new projector.
Memory:  27.1 GB a process for weights, gradients and AdamW (computed), and activations.
Trained: 31,467,520 parameters; 1e-3 at the top, 1 pass, 256 samples a step.
Source:  scripts/v1_5/pretrain.sh of LLaVA.
Run:     torchrun --nproc_per_node 8 tools/train.py \\
             configs/train/llava-13b-v1.5_pretrain.py --launcher pytorch
"""

_base_ = [
    '../_base_/models/llava_13b_v1.5.py',
    '../_base_/datasets/train_lcs558k_336_square.py',
    '../_base_/schedules/projector_1e-3.py',
]

model = dict(
    template='plain',
    tokenizer=dict(name_or_path='lmsys/vicuna-13b-v1.5'),
    lang_encoder=dict(pretrained='lmsys/vicuna-13b-v1.5'),
    max_tokens=2048,
    dtype='bfloat16',  # of what is frozen
)
