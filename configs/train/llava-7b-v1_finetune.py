"""LLaVA v1.0, 7B, on Instruct-158K: tunes language model and projector.

Weights: lmsys/vicuna-7b-v1.3 and the projector of llava-7b-v1_pretrain.
Memory:  108.5 GB per process for weights, gradients and AdamW (computed), plus activations;
         13.6 if sharded over eight.
Trained: 6,742,614,016 parameters; peak rate 2e-5; 3 epochs, 128 samples per step.
Source:  scripts/finetune_full_schedule.sh of LLaVA.
Run:     torchrun --nproc_per_node 8 tools/train.py \\
             configs/train/llava-7b-v1_finetune.py --launcher pytorch \\
             --cfg-options strategy.type=FSDP
"""

_base_ = [
    '../_base_/models/llava_7b_v1.3.py',
    '../_base_/datasets/train_instruct158k.py',
    '../_base_/schedules/whole_2e-5.py',
]

model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='work_dirs/llava-7b-v1_pretrain/iter_4361')
)
train_cfg = dict(max_epochs=3)
_base_.train_dataloader.dataset.pipeline[1].update(_base_.resize)
