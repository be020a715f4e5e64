"""LLaVA v1.0, 7B, on LCS-558K: trains the projector.

Weights: lmsys/vicuna-7b-v1.3 and CLIP; a new projector.
Memory:  14.2 GB per process for weights, gradients and AdamW (computed), plus activations.
Trained: 4,198,400 parameters; peak rate 2e-3; 1 epoch, 128 samples per step.
Source:  scripts/pretrain.sh of LLaVA.
Run:     torchrun --nproc_per_node 8 tools/train.py \\
             configs/train/llava-7b-v1_pretrain.py --launcher pytorch
"""

_base_ = [
    '../_base_/models/llava_7b_v1.3.py',
    '../_base_/datasets/train_lcs558k.py',
    '../_base_/schedules/projector_2e-3.py',
]

model = dict(template='plain')
_base_.train_dataloader.dataset.pipeline[1].update(_base_.resize)
