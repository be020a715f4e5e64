"""LLaVA v1.5, 7B, on LCS-558K: the projector is aligned.

Weights: lmsys/vicuna-7b-v1.5 and CLIP; a new projector.
Memory:  14.4 GB a process for weights, gradients and AdamW (computed), and activations.
Trained: 20,979,712 parameters; 1e-3 at the top, 1 pass, 256 samples a step.
Source:  scripts/v1_5/pretrain.sh of LLaVA.
Run:     torchrun --nproc_per_node 8 tools/train.py \\
             configs/train/llava-7b-v1.5_pretrain.py --launcher pytorch
"""

_base_ = [
    '../_base_/models/llava_7b_v1.5.py',
    '../_base_/datasets/train_lcs558k_336_square.py',
    '../_base_/schedules/projector_1e-3.py',
]

model = dict(
    template='plain',
    tokenizer=dict(name_or_path='lmsys/vicuna-7b-v1.5'),
    lang_encoder=dict(pretrained='lmsys/vicuna-7b-v1.5'),
    max_tokens=2048,
    dtype='bfloat16',  # of what is frozen
)
