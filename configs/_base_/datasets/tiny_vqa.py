"""2,000 questions about scenes of llava-tiny's world, in VQAv2's form.

Writes the answers; test_answers.json has the right ones, and projects/llava_tiny/tools/evaluate.py
compares them.
"""

_base_ = ['./vqav2.py']

test_dataloader = dict(
    batch_size=50,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        data_root='data/tiny',
        data_prefix='images/test',
        question_file='test_questions.json',
    ),
)
test_evaluator = dict(file_path='vqa_tiny.json')
