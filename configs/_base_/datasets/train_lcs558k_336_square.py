"""LCS-558K (blip_laion_cc_sbu_558k.json, 558,128 rows): captions that align the projector.

Pictures: 336 px, aspect 'square': v1.5 pads in its second stage only.
"""

_base_ = ['./train_lcs558k_224_square.py']

train_dataloader = dict(
    batch_size=32,  # a process
    dataset=dict(
        pipeline=[
            dict(type='mmllava.LoadImage'),
            dict(type='mmllava.CLIPResize', size=336, aspect='square'),
            dict(
                type='mmpretrain.PackInputs',
                algorithm_keys=['conversations'],
                meta_keys=['img_path', 'ori_shape', 'sample_idx'],
            ),
        ],
    ),
)
