"""LLaVA v1.5, 13B, on ScienceQA: language model and projector are tuned.

Weights: lmsys/vicuna-13b-v1.5 and the projector of llava-13b-v1.5_pretrain.
Memory:  209.4 GB a process for weights, gradients and AdamW (computed), and activations;
         26.2 shared out over eight.
Trained: 13,047,331,840 parameters; 2e-5 at the top, 12 passes, 128 samples a step.
Source:  scripts/finetune_sqa.sh of LLaVA, which is of v1: the authors tuned no v1.5 on it.
Run:     torchrun --nproc_per_node 8 tools/train.py \\
             configs/train/llava-13b-v1.5_scienceqa.py --launcher pytorch \\
             --cfg-options strategy.type=FSDP
"""

_base_ = [
    '../_base_/models/llava_13b_v1.5.py',
    '../_base_/datasets/train_scienceqa_336_pad.py',
    '../_base_/schedules/whole_2e-5.py',
]

model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='work_dirs/llava-13b-v1.5_pretrain/iter_2181'),
    tokenizer=dict(name_or_path='lmsys/vicuna-13b-v1.5'),
    lang_encoder=dict(pretrained='lmsys/vicuna-13b-v1.5'),
    max_tokens=2048,
    dtype='bfloat16',  # of what is frozen
)
train_cfg = dict(max_epochs=12)
