"""llava-tiny, stage 2: the language model learns to look up in patches what a text names.

Weights: stage 1.
Trained: 2.4 million parameters; peak rate 1e-3, tower 1e-4; 37,800 of 84,000 images,
         each with facts, 16 per step.
Run:     torchrun --nproc_per_node 2 tools/train.py \
             projects/llava_tiny/configs/llava-tiny_align.py --launcher pytorch
"""

_base_ = ['./llava-tiny_talk.py']

model = dict(template='plain', init_cfg=dict(checkpoint='work_dirs/llava-tiny_tower/iter_3939'))
train_dataloader = dict(dataset=dict(ann_file=[dict(ann_file='data/tiny/align.json', weight=0.45)]))
