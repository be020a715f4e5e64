"""LLaVA v1.5, 7B, on your own data: tunes language model and projector.

Weights: liuhaotian/llava-v1.5-7b: it starts from the released model.
Memory:  108.8 GB per process for weights, gradients and AdamW (computed), plus activations;
         13.6 if sharded over eight.
Trained: 6,759,395,328 parameters; peak rate 2e-5; 1 epoch, 128 samples per step.
Source:  scripts/v1_5/finetune_task.sh of LLaVA.
Run:     torchrun --nproc_per_node 8 tools/train.py \\
             configs/train/llava-7b-v1.5_task.py --launcher pytorch \\
             --cfg-options strategy.type=FSDP
"""

_base_ = [
    '../_base_/models/llava_7b_v1.5.py',
    '../_base_/datasets/train_own.py',
    '../_base_/schedules/whole_2e-5.py',
]

model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='liuhaotian/llava-v1.5-7b'),
    max_tokens=2048,
    dtype='bfloat16',  # of the frozen parameters
)
_base_.train_dataloader.dataset.pipeline[1].update(_base_.resize)
