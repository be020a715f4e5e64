"""llava-tiny learns a colour that it never saw: LoRA on 4,000 scenes, half of them with brown.

Weights: the package's.
Trained: 0.4 million parameters; peak rate 2e-3; 5,800 of 14,500 conversations, 16 per step.
Run:     python projects/llava_tiny/tools/make_data.py data/tiny-brown --train 4000 --color brown
         python tools/train.py projects/llava_tiny/configs/llava-tiny_brown-lora.py
"""

_base_ = [
    '../../../configs/_base_/models/llava_tiny.py',
    './_base_/scenes.py',
    '../../../configs/_base_/schedules/default.py',
]

model = dict(pack=True, init_cfg=dict(type='Pretrained', checkpoint='mmllava/assets/llava-tiny'))
train_dataloader = dict(
    dataset=dict(
        ann_file=[dict(ann_file='data/tiny-brown/talk.json', weight=0.4)],
        img_root='data/tiny-brown/images',
    )
)
stage = dict(train=['projector'], lora=dict(r=32, alpha=64))
train_cfg = dict(global_batch=16)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(lr=2e-3))
default_hooks = dict(logger=dict(interval=10))
_base_.train_dataloader.dataset.pipeline[1].update(_base_.resize)
