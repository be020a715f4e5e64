"""LLaVA v1.5, 13B, on ScienceQA: tunes language model and projector.

Weights: lmsys/vicuna-13b-v1.5 and the projector of llava-13b-v1.5_pretrain.
Memory:  209.4 GB per process for weights, gradients and AdamW (computed), plus activations;
         26.2 if sharded over eight.
Trained: 13,047,331,840 parameters; peak rate 2e-5; 12 epochs, 128 samples per step.
Source:  scripts/finetune_sqa.sh of LLaVA, for v1: the authors tuned no v1.5 on it.
Run:     torchrun --nproc_per_node 8 tools/train.py \\
             configs/train/llava-13b-v1.5_scienceqa.py --launcher pytorch \\
             --cfg-options strategy.type=FSDP
"""

_base_ = [
    '../_base_/models/llava_13b_v1.5_from_vicuna.py',
    '../_base_/datasets/train_scienceqa.py',
    '../_base_/schedules/whole_2e-5.py',
]

model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='work_dirs/llava-13b-v1.5_pretrain/iter_2181')
)
train_cfg = dict(max_epochs=12)
_base_.train_dataloader.dataset.pipeline[1].update(_base_.resize)
