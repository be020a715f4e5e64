"""llava-tiny, stage 2: it learns to see better, and words for colours that it never saw so.

Weights: stage 1.
Trained: 2.4 million parameters; 1e-3 at the top, 1 pass over 84,000 pictures, 32 a step.
Run:     torchrun --nproc_per_node 2 tools/train.py configs/tiny/llava-tiny_look.py \
             --launcher pytorch
"""

_base_ = ['./llava-tiny_align.py']

model = dict(
    pack=True,  # no padding: faster, the same losses
    init_cfg=dict(type='Pretrained', checkpoint='work_dirs/llava-tiny_align/iter_2625'),
)
train_dataloader = dict(dataset=dict(ann_file='data/tiny/look.json'))
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.98), weight_decay=0.1))
