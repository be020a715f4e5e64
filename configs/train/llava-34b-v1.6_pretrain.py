"""LLaVA v1.6, 34B, on LCS-558K: trains the projector.

Weights: NousResearch/Nous-Hermes-2-Yi-34B and CLIP; a new projector.
Memory:  70.3 GB per process for weights, gradients and AdamW (computed), plus activations;
         8.8 if sharded over eight.
Trained: 58,734,592 parameters; peak rate 1e-3; 1 epoch, 256 samples per step.
Source:  scripts/v1_5/pretrain.sh of LLaVA; v1.6 has none of its own.
Run:     torchrun --nproc_per_node 8 tools/train.py \\
             configs/train/llava-34b-v1.6_pretrain.py --launcher pytorch \\
             --cfg-options strategy.type=FSDP
"""

_base_ = [
    '../_base_/models/llava_34b_v1.6.py',
    '../_base_/datasets/train_lcs558k.py',
    '../_base_/schedules/projector_1e-3.py',
]

model = dict(
    template='plain',
    tokenizer=dict(name_or_path='NousResearch/Nous-Hermes-2-Yi-34B'),
    vision_encoder=dict(pretrained='openai/clip-vit-large-patch14-336'),
    lang_encoder=dict(pretrained='NousResearch/Nous-Hermes-2-Yi-34B'),
    mm_patch_merge_type='flat',  # captions are learned from the whole image alone
    image_grid_pinpoints=None,
    max_tokens=2048,
    dtype='bfloat16',  # of the frozen parameters
)
train_dataloader = dict(batch_size=32)  # per process
# Cropped: images are padded or cut into tiles from stage 2 on.
_base_.train_dataloader.dataset.pipeline[1].update(size=_base_.resize.size, aspect='square')
