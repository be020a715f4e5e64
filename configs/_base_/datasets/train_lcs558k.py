"""LCS-558K (blip_laion_cc_sbu_558k.json, 558,128 samples): captions that align the projector."""

train_dataloader = dict(
    batch_size=16,  # per process
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='mmllava.keep_lists'),
    dataset=dict(
        type='mmllava.InstructDataset',
        ann_file='data/LLaVA-Pretrain/blip_laion_cc_sbu_558k.json',
        img_root='data/LLaVA-Pretrain/images',
        pipeline=[
            dict(type='mmllava.LoadImage'),
            dict(type='mmllava.CLIPResize'),  # with the model's `resize`, which a leaf fills in
            dict(
                type='mmpretrain.PackInputs',
                algorithm_keys=['conversations'],
                meta_keys=['img_path', 'ori_shape', 'sample_idx'],
            ),
        ],
    ),
)
