"""LLaVA v1.6, 13B, on your own data: tunes the whole model.

Weights: liuhaotian/llava-v1.6-vicuna-13b: it starts from the released model.
Memory:  213.4 GB per process for weights, gradients and AdamW (computed), plus activations;
         26.7 if sharded over eight.
Trained: 13,338,246,144 parameters; peak rate 1e-5, tower 2e-6; 1 epoch, 128 samples per step.
Source:  scripts/train/direct_finetune_clip.sh of LLaVA-NeXT, the authors' next project.
Run:     torchrun --nproc_per_node 8 tools/train.py \\
             configs/train/llava-13b-v1.6-vicuna_task.py --launcher pytorch \\
             --cfg-options strategy.type=FSDP
"""

_base_ = [
    '../_base_/models/llava_13b_v1.6_vicuna.py',
    '../_base_/datasets/train_own.py',
    '../_base_/schedules/tower_1e-5.py',
]

model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='liuhaotian/llava-v1.6-vicuna-13b'),
    max_tokens=4096,
    dtype='bfloat16',  # of the frozen parameters
)
train_dataloader = dict(batch_size=4)  # per process; an image takes up to 2,928 tokens
_base_.train_dataloader.dataset.pipeline[1].update(_base_.resize)
