"""The mix of LLaVA-NeXT (LLaVA-NeXT-Data of lmms-lab, in its raw format, 779,289 rows).

Its JSON and unpacked pictures below data/LLaVA-NeXT-Data/llava_next_raw_format. Pictures:
336 px, aspect 'anyres'. Tiles need ori_shape, the size before any resize.
"""

_base_ = ['./train_mix665k_336_pad.py']

train_dataloader = dict(
    batch_size=4,  # a process; a picture takes up to 2,928 tokens
    dataset=dict(
        ann_file='data/LLaVA-NeXT-Data/llava_next_raw_format/llava_next_raw_format_processed.json',
        img_root='data/LLaVA-NeXT-Data/llava_next_raw_format',
        pipeline=[
            dict(type='mmllava.LoadImage'),
            dict(
                type='mmllava.CLIPResize',
                size=336,
                aspect='anyres',
                image_grid_pinpoints=[
                    (336, 672),
                    (672, 336),
                    (672, 672),
                    (1008, 336),
                    (336, 1008),
                ],
            ),
            dict(
                type='mmpretrain.PackInputs',
                algorithm_keys=['conversations'],
                meta_keys=['img_path', 'ori_shape', 'sample_idx'],
            ),
        ],
    ),
)
