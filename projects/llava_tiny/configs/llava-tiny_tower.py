"""llava-tiny, stage 1: the tower learns, from random weights, what each patch shows.

Weights: none; all random.
Trained: 0.9 million parameters; peak rate 3e-3; 3 epochs of 84,000 images, 64 per step.
Run:     python projects/llava_tiny/tools/make_data.py
         torchrun --nproc_per_node 2 tools/train.py \
             projects/llava_tiny/configs/llava-tiny_tower.py --launcher pytorch
"""

_base_ = ['./llava-tiny_talk.py']

# stage.train names every part, as stage 3 does, so that the checkpoint is complete; the language
# model gets no gradient here.
custom_imports = dict(imports=['projects.llava_tiny.patch_supervision'])
model = dict(type='mmllava.PatchSupervisedLlava', init_cfg=None)
train_dataloader = dict(
    batch_size=32,  # per process, one on each core
    dataset=dict(
        _delete_=True,
        type='mmllava.SceneDataset',
        ann_file='data/tiny/things.json',
        img_root='data/tiny/images',
        pipeline=[
            dict(type='mmllava.LoadImage'),
            _base_.resize,
            dict(type='mmpretrain.PackInputs', algorithm_keys=['things'], meta_keys=['ori_shape']),
        ],
    ),
)
train_cfg = dict(max_epochs=3, global_batch=64)
optim_wrapper = dict(optimizer=dict(lr=3e-3, weight_decay=0.05), paramwise_cfg=None)
