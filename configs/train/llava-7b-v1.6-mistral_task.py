"""LLaVA v1.6, 7B (Mistral), on your own data: tunes the whole model.

Weights: liuhaotian/llava-v1.6-mistral-7b: it starts from the released model.
Memory:  120.9 GB per process for weights, gradients and AdamW (computed), plus activations;
         15.1 if sharded over eight.
Trained: 7,553,625,088 parameters; peak rate 1e-5, tower 2e-6; 1 epoch, 128 samples per step.
Source:  scripts/train/direct_finetune_clip.sh of LLaVA-NeXT, the authors' next project.
Run:     torchrun --nproc_per_node 8 tools/train.py \\
             configs/train/llava-7b-v1.6-mistral_task.py --launcher pytorch \\
             --cfg-options strategy.type=FSDP
"""

_base_ = [
    '../_base_/models/llava_7b_v1.6_mistral.py',
    '../_base_/datasets/train_own.py',
    '../_base_/schedules/tower_1e-5.py',
]

model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='liuhaotian/llava-v1.6-mistral-7b'),
    max_tokens=4096,
    dtype='bfloat16',  # of the frozen parameters
)
train_dataloader = dict(batch_size=4)
_base_.train_dataloader.dataset.pipeline[1].update(_base_.resize)
