"""2,000 questions about scenes of the small world, as VQAv2's.

Writes the answers; test_answers.json has the right ones, and projects/llava_tiny/tools/evaluate.py
compares them.
Pictures: 112 px, aspect 'pad'.
"""

_base_ = ['./vqav2_224_square.py']

test_dataloader = dict(
    batch_size=50,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        data_root='data/tiny',
        data_prefix='images/test',
        question_file='test_questions.json',
        pipeline=[
            dict(type='mmllava.LoadImage', on_error='record'),
            dict(type='mmllava.CLIPResize', size=112, aspect='pad'),
            dict(
                type='mmpretrain.PackInputs',
                algorithm_keys=['question'],
                meta_keys=['question_id', 'image_id', 'img_path', 'ori_shape', 'error'],
            ),
        ],
    ),
)
test_evaluator = dict(file_path='vqa_tiny.json')
