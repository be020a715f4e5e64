"""The mix of LLaVA-NeXT (LLaVA-NeXT-Data of lmms-lab, in its raw format, 779,289 samples).

Its JSON and unpacked images below data/LLaVA-NeXT-Data/llava_next_raw_format.
"""

_base_ = ['./train_mix665k.py']

train_dataloader = dict(
    batch_size=4,  # per process; an image takes up to 2,928 tokens
    dataset=dict(
        ann_file='data/LLaVA-NeXT-Data/llava_next_raw_format/llava_next_raw_format_processed.json',
        img_root='data/LLaVA-NeXT-Data/llava_next_raw_format',
    ),
)
