"""ScienceQA's training split (12,726 samples), as tools/dataset_converters/scienceqa.py writes it.

Below data/: scienceqa/llava_train_QCM-LEA.json and scienceqa/images/train. Half of the samples
have no image.
"""

_base_ = ['./train_lcs558k.py']

train_dataloader = dict(
    dataset=dict(
        ann_file='data/scienceqa/llava_train_QCM-LEA.json',
        img_root='data/scienceqa/images/train',
    ),
)
