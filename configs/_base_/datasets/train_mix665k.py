"""The mix of LLaVA-1.5 (llava_v1_5_mix665k.json, 665,298 samples, 40,688 of them text only).

Below data/: coco/train2017, gqa/images, ocr_vqa/images, textvqa/train_images, vg/VG_100K
and vg/VG_100K_2. A batch has samples with images, or text only.
"""

_base_ = ['./train_lcs558k.py']

train_dataloader = dict(
    sampler=dict(_delete_=True, type='mmllava.ModalityLengthSampler'),
    dataset=dict(
        ann_file='data/LLaVA-Instruct-150K/llava_v1_5_mix665k.json',
        img_root='data',
    ),
)
