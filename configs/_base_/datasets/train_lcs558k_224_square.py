"""LCS-558K (blip_laion_cc_sbu_558k.json, 558,128 rows): captions that align the projector.

Pictures: 224 px, aspect 'square'.
"""

train_dataloader = dict(
    batch_size=16,  # a process
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='mmllava.keep_lists'),
    dataset=dict(
        type='mmllava.InstructDataset',
        ann_file='data/LLaVA-Pretrain/blip_laion_cc_sbu_558k.json',
        img_root='data/LLaVA-Pretrain/images',
        template='plain',
        pipeline=[
            dict(type='mmllava.LoadImage'),
            dict(type='mmllava.CLIPResize', size=224, aspect='square'),
            dict(
                type='mmpretrain.PackInputs',
                algorithm_keys=['conversations'],
                meta_keys=['img_path', 'ori_shape', 'sample_idx'],
            ),
        ],
    ),
)
