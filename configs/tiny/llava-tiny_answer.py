"""llava-tiny, stage 5: questions of every kind, in a word and in sentences, of one picture or two.

Weights: stage 4.
Trained: 2.4 million parameters; 5e-4 at the top, 148,050 of 197,400 conversations, 16 a step.
Run:     torchrun --nproc_per_node 2 tools/train.py configs/tiny/llava-tiny_answer.py \
             --launcher pytorch
"""

_base_ = ['./llava-tiny_talk.py']

model = dict(init_cfg=dict(checkpoint='work_dirs/llava-tiny_ask/iter_1684'))
train_dataloader = dict(
    batch_size=8, dataset=dict(ann_file=[dict(ann_file='data/tiny/answer.json', weight=0.75)])
)
train_cfg = dict(global_batch=16)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=500))
