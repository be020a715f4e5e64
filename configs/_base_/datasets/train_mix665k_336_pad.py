"""The mix of LLaVA-1.5 (llava_v1_5_mix665k.json, 665,298 rows, 40,688 of them text only).

Below data/: coco/train2017, gqa/images, ocr_vqa/images, textvqa/train_images, vg/VG_100K
and vg/VG_100K_2. Pictures: 336 px, aspect 'pad'. A batch is of pictures or of text.
"""

_base_ = ['./train_lcs558k_224_square.py']

train_dataloader = dict(
    sampler=dict(_delete_=True, type='mmllava.ModalityLengthSampler'),
    dataset=dict(
        ann_file='data/LLaVA-Instruct-150K/llava_v1_5_mix665k.json',
        img_root='data',
        template='vicuna_v1',
        pipeline=[
            dict(type='mmllava.LoadImage'),
            dict(type='mmllava.CLIPResize', size=336, aspect='pad'),
            dict(
                type='mmpretrain.PackInputs',
                algorithm_keys=['conversations'],
                meta_keys=['img_path', 'ori_shape', 'sample_idx'],
            ),
        ],
    ),
)
