"""LLaVA v1.0, 7B, on LCS-558K: the projector is aligned.

Weights: lmsys/vicuna-7b-v1.3 and CLIP; a new projector.
Memory:  14.2 GB a process for weights, gradients and AdamW (computed), and activations.
Trained: 4,198,400 parameters; 2e-3 at the top, 1 pass, 128 samples a step.
Source:  scripts/pretrain.sh of LLaVA.
Run:     torchrun --nproc_per_node 8 tools/train.py \\
             configs/train/llava-7b-v1_pretrain.py --launcher pytorch
"""

_base_ = [
    '../_base_/models/llava_7b_v1.3.py',
    '../_base_/datasets/train_lcs558k_224_square.py',
    '../_base_/schedules/projector_2e-3.py',
]

model = dict(
    template='plain',
    lang_encoder=dict(pretrained='lmsys/vicuna-7b-v1.3'),
    max_tokens=2048,
    dtype='bfloat16',  # of what is frozen
)
