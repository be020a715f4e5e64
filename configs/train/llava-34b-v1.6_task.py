"""LLaVA v1.6, 34B, on your own data: tunes the whole model.

Weights: liuhaotian/llava-v1.6-34b: it starts from the released model.
Memory:  555.8 GB per process for weights, gradients and AdamW (computed), plus activations;
         34.7 if sharded over sixteen (69.5 over eight, plus activations, exceed 80 GB).
Trained: 34,738,568,192 parameters; peak rate 1e-5, tower 2e-6; 1 epoch, 128 samples per step.
Source:  scripts/train/direct_finetune_clip.sh of LLaVA-NeXT, the authors' next project.
Run:     srun --nodes 2 --ntasks-per-node 8 --gpus-per-node 8 python tools/train.py \\
             configs/train/llava-34b-v1.6_task.py --launcher slurm --cfg-options \\
             strategy.type=FSDP optim_wrapper.accumulative_counts=2
"""

_base_ = [
    '../_base_/models/llava_34b_v1.6.py',
    '../_base_/datasets/train_own.py',
    '../_base_/schedules/tower_1e-5.py',
]

model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='liuhaotian/llava-v1.6-34b'),
    max_tokens=4096,
    dtype='bfloat16',  # of the frozen parameters
)
train_dataloader = dict(batch_size=4)
_base_.train_dataloader.dataset.pipeline[1].update(_base_.resize)
