"""LLaVA v1.5, 13B, on LCS-558K: trains the projector.

Weights: lmsys/vicuna-13b-v1.5 and CLIP; a new projector.
Memory:  27.1 GB per process for weights, gradients and AdamW (computed), plus activations.
Trained: 31,467,520 parameters; peak rate 1e-3; 1 epoch, 256 samples per step.
Source:  scripts/v1_5/pretrain.sh of LLaVA.
Run:     torchrun --nproc_per_node 8 tools/train.py \\
             configs/train/llava-13b-v1.5_pretrain.py --launcher pytorch
"""

_base_ = [
    '../_base_/models/llava_13b_v1.5_from_vicuna.py',
    '../_base_/datasets/train_lcs558k.py',
    '../_base_/schedules/projector_1e-3.py',
]

model = dict(template='plain')
train_dataloader = dict(batch_size=32)  # per process
# Cropped: images are padded or cut into tiles from stage 2 on.
_base_.train_dataloader.dataset.pipeline[1].update(size=_base_.resize.size, aspect='square')
