"""Drawn scenes, as projects/llava_tiny/tools/make_data.py writes them; 112 px, aspect 'pad'."""

_base_ = ['./train_lcs558k_224_square.py']

train_dataloader = dict(
    batch_size=16,  # a process, one on each core
    num_workers=1,
    dataset=dict(
        ann_file='data/tiny/talk.json',
        img_root='data/tiny/images',
        template='vicuna_v1',
        max_skipped=0,
        pipeline=[
            dict(type='mmllava.LoadImage'),
            dict(type='mmllava.CLIPResize', size=112, aspect='pad'),
            dict(
                type='mmpretrain.PackInputs',
                algorithm_keys=['conversations'],
                meta_keys=['img_path', 'ori_shape', 'sample_idx'],
            ),
        ],
    ),
)
