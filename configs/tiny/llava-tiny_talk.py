"""llava-tiny, stage 2: the whole model learns to answer, and to caption when it is asked to.

Weights: stage 1.
Trained: 2.4 million parameters; 1e-3 at the top, 1 pass over 197,400 conversations, 16 a step.
Run:     torchrun --nproc_per_node 2 tools/train.py configs/tiny/llava-tiny_talk.py \
             --launcher pytorch
"""

_base_ = [
    '../_base_/models/llava_tiny.py',
    '../_base_/datasets/train_tiny_112_pad.py',
    '../_base_/schedules/tiny.py',
]

model = dict(
    tokenizer=dict(name_or_path='data/tiny/tokenizer'),
    pack=True,  # no padding: faster, the same losses
    init_cfg=dict(type='Pretrained', checkpoint='work_dirs/llava-tiny_align/iter_5250'),
)
