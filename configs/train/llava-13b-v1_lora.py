"""LLaVA v1.0, 13B, on Instruct-80K: tunes adapters and projector.

Weights: lmsys/vicuna-13b-v1.3 and the projector of llava-13b-v1_pretrain.
Memory:  30.7 GB per process for weights, gradients and AdamW (computed), plus activations.
Trained: 255,595,520 parameters; peak rate 2e-5; 1 epoch, 128 samples per step.
Source:  scripts/finetune_lora.sh of LLaVA.
Run:     torchrun --nproc_per_node 8 tools/train.py \\
             configs/train/llava-13b-v1_lora.py --launcher pytorch
"""

_base_ = [
    '../_base_/models/llava_13b_v1.3.py',
    '../_base_/datasets/train_instruct158k.py',
    '../_base_/schedules/lora64_2e-5.py',
]

model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='work_dirs/llava-13b-v1_pretrain/iter_4361')
)
train_dataloader = dict(dataset=dict(ann_file='data/LLaVA-Instruct-150K/llava_instruct_80k.json'))
_base_.train_dataloader.dataset.pipeline[1].update(_base_.resize)
