"""ScienceQA's training split (12,726 rows), as tools/dataset_converters/scienceqa.py writes it.

Below data/: scienceqa/llava_train_QCM-LEA.json and scienceqa/images/train. Pictures: 336 px,
aspect 'pad'; half of the rows have none.
"""

_base_ = ['./train_scienceqa_224_square.py']

train_dataloader = dict(
    dataset=dict(
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
