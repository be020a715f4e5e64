"""LLaVA v1.0, 13B, on Instruct-158K: language model and projector are tuned.

Weights: lmsys/vicuna-13b-v1.3 and the projector of llava-13b-v1_pretrain.
Memory:  208.9 GB a process for weights, gradients and AdamW (computed), and activations;
         26.1 shared out over eight.
Trained: 13,021,112,320 parameters; 2e-5 at the top, 3 passes, 128 samples a step.
Source:  scripts/finetune_full_schedule.sh of LLaVA.
Run:     torchrun --nproc_per_node 8 tools/train.py \\
             configs/train/llava-13b-v1_finetune.py --launcher pytorch \\
             --cfg-options strategy.type=FSDP
"""

_base_ = [
    '../_base_/models/llava_13b_v1.3.py',
    '../_base_/datasets/train_instruct158k_224_square.py',
    '../_base_/schedules/whole_2e-5.py',
]

model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='work_dirs/llava-13b-v1_pretrain/iter_4361'),
    lang_encoder=dict(pretrained='lmsys/vicuna-13b-v1.3'),
    max_tokens=2048,
    dtype='bfloat16',  # of what is frozen
)
train_cfg = dict(max_epochs=3)
