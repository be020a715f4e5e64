"""LLaVA v1.6, 34B, on your own data: tunes adapters and projector.

Weights: liuhaotian/llava-v1.6-34b: it starts from the released model.
Memory:  86.1 GB per process for weights, gradients and AdamW (computed), plus activations;
         10.8 if sharded over eight.
Trained: 1,041,781,760 parameters; peak rate 2e-4; 1 epoch, 128 samples per step.
Source:  scripts/v1_5/finetune_task_lora.sh of LLaVA; v1.6 has none of its own.
Run:     torchrun --nproc_per_node 8 tools/train.py \\
             configs/train/llava-34b-v1.6_task-lora.py --launcher pytorch \\
             --cfg-options strategy.type=FSDP
"""

_base_ = [
    '../_base_/models/llava_34b_v1.6.py',
    '../_base_/datasets/train_own.py',
    '../_base_/schedules/lora128_2e-4.py',
]

model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='liuhaotian/llava-v1.6-34b'),
    max_tokens=4096,
    dtype='bfloat16',  # of the frozen parameters
)
train_dataloader = dict(batch_size=4)
optim_wrapper = dict(accumulative_counts=4)  # 4 samples in each of 8 processes
_base_.train_dataloader.dataset.pipeline[1].update(_base_.resize)
