"""Trains at toy size on a CPU: the recorded v1.5 model of tests/golden, with random weights.

Data:    demo/train.json on the images of tests/golden: 8 rows, 2 of them of text only.
Memory:  nothing to speak of: 190,000 parameters.
Run:     python tools/train.py demo/llava-random_train.py
"""

_base_ = ['../configs/train/llava-7b-v1.5_task.py']

folder = '{{ fileDirname }}/../tests/golden/models'
model = dict(
    dtype='float32',
    task='vqa',
    preset='vqa_open',  # asked by inference_model, it answers questions
    init_cfg=dict(checkpoint=f'{folder}/llava-v1.5'),
    tokenizer=dict(name_or_path=f'{folder}/llava-v1.5'),
    vision_encoder=dict(
        _delete_=True, type='mmllava.CLIPVisionTower', name_or_path=f'{folder}/clip-tiny'
    ),
    lang_encoder=dict(
        _delete_=True, type='mmllava.LanguageModel', name_or_path=f'{folder}/llava-v1.5'
    ),
    generation_cfg=dict(max_new_tokens=24),  # it would never stop by itself
)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        ann_file='{{ fileDirname }}/train.json',
        img_root=f'{folder}/images',
        pipeline=[
            dict(type='mmllava.LoadImage'),
            dict(type='mmllava.CLIPResize', size=56, aspect='pad'),
            dict(
                type='mmpretrain.PackInputs',
                algorithm_keys=['conversations'],
                meta_keys=['img_path', 'ori_shape', 'sample_idx'],
            ),
        ],
    ),
)
# To ask the result: demo/chat.py and get_model read how images are prepared here.
test_dataloader = dict(
    dataset=dict(
        type='mmpretrain.COCOVQA',
        pipeline=[
            dict(type='mmllava.LoadImage'),
            dict(type='mmllava.CLIPResize', size=56, aspect='pad'),
            dict(type='mmpretrain.PackInputs', algorithm_keys=['question']),
        ],
    )
)
train_cfg = dict(global_batch=4, max_epochs=30)
optim_wrapper = dict(type='OptimWrapper', accumulative_counts=2, optimizer=dict(lr=3e-3))
default_hooks = dict(checkpoint=dict(interval=10))
