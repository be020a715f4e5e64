"""ScienceQA's training split (12,726 rows), as tools/dataset_converters/scienceqa.py writes it.

Below data/: scienceqa/llava_train_QCM-LEA.json and scienceqa/images/train. Pictures: 224 px,
aspect 'square'; half of the rows have none.
"""

_base_ = ['./train_lcs558k_224_square.py']

train_dataloader = dict(
    dataset=dict(
        ann_file='data/scienceqa/llava_train_QCM-LEA.json',
        img_root='data/scienceqa/images/train',
        template='vicuna_v1',
    ),
)
