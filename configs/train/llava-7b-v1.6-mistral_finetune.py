"""LLaVA v1.6, 7B (Mistral), on LLaVA-NeXT-Data: tunes the whole model.

Weights: mistralai/Mistral-7B-Instruct-v0.2, CLIP,
         and the projector of llava-7b-v1.6-mistral_pretrain.
Memory:  120.9 GB per process for weights, gradients and AdamW (computed), plus activations;
         15.1 if sharded over eight.
Trained: 7,553,625,088 parameters; peak rate 1e-5, tower 2e-6; 1 epoch, 128 samples per step.
Source:  scripts/train/direct_finetune_clip.sh of LLaVA-NeXT, the authors' next project.
Run:     torchrun --nproc_per_node 8 tools/train.py \\
             configs/train/llava-7b-v1.6-mistral_finetune.py --launcher pytorch \\
             --cfg-options strategy.type=FSDP
"""

_base_ = [
    '../_base_/models/llava_7b_v1.6_mistral.py',
    '../_base_/datasets/train_next779k.py',
    '../_base_/schedules/tower_1e-5.py',
]

model = dict(
    init_cfg=dict(
        type='Pretrained',
        checkpoint='work_dirs/llava-7b-v1.6-mistral_pretrain/iter_2181',
    ),
    tokenizer=dict(name_or_path='mistralai/Mistral-7B-Instruct-v0.2'),
    vision_encoder=dict(pretrained='openai/clip-vit-large-patch14-336'),
    lang_encoder=dict(pretrained='mistralai/Mistral-7B-Instruct-v0.2'),
    max_tokens=4096,
    dtype='bfloat16',  # of the frozen parameters
)
_base_.train_dataloader.dataset.pipeline[1].update(_base_.resize)
