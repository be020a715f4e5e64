"""ScienceQA as LLaVA's code writes it: strings worked out by hand from that code."""

import json

import pytest

from mmllava.datasets.llava_json import to_sample
from mmllava.datasets.scienceqa import ANSWERS, QUESTIONS, convert, write_problem
from mmllava.errors import ConfigError, DataError

FULL = dict(
    question='Which is a solid?',
    choices=['water', 'an  ice cube'],
    answer=1,
    hint='Look at  the image.',
    image='image.png',
    lecture='Solids keep\\ntheir shape.',
    solution='An ice cube does.',
)
BARE = dict(FULL, hint=' ', image=None, lecture='', solution='')

M = 'Options: (A) water (B) an ice cube'
Q, C = 'Which is a solid?', 'Context: Look at the image.'
L, E = 'Solids keep\ntheir shape.', 'An ice cube does.'


@pytest.mark.parametrize(
    ('order', 'asked', 'bare'),
    [
        ('CQM', f'{C}\nQuestion: {Q}\n{M}', f'Context: N/A\nQuestion: {Q}\n{M}'),
        ('QCM', f'{Q}\n{C}\n{M}', f'{Q}\nContext: N/A\n{M}'),
        ('QCML', f'{Q}\n{C}\n{M}\nBECAUSE: {L}', f'{Q}\nContext: N/A\n{M}'),
        ('QCME', f'{Q}\n{C}\n{M}\nBECAUSE: {E}', f'{Q}\nContext: N/A\n{M}'),
        ('QCMLE', f'{Q}\n{C}\n{M}\nBECAUSE: {L} {E}', f'{Q}\nContext: N/A\n{M}'),
        # In the middle the announced reason stays, as in the original.
        ('QCLM', f'{Q}\n{C}\nBECAUSE: {L}\n{M}', f'{Q}\nContext: N/A\nBECAUSE: \n{M}'),
        ('QCEM', f'{Q}\n{C}\nBECAUSE: {E}\n{M}', f'{Q}\nContext: N/A\nBECAUSE: \n{M}'),
        ('QCLEM', f'{Q}\n{C}\nBECAUSE: {L} {E}\n{M}', f'{Q}\nContext: N/A\nBECAUSE: \n{M}'),
    ],
)
def test_every_order_of_a_question(order, asked, bare):
    assert write_problem(FULL, f'{order}-A')[0] == asked
    assert write_problem(BARE, f'{order}-A')[0] == bare


@pytest.mark.parametrize(
    ('order', 'answered', 'bare'),
    [
        ('A', 'The answer is B.', 'The answer is B.'),
        ('AL', f'The answer is B. BECAUSE: {E}', 'The answer is B.'),
        ('AE', f'The answer is B. BECAUSE: {L}', 'The answer is B.'),
        ('ALE', f'The answer is B. BECAUSE: {L} {E}', 'The answer is B.'),
        ('AEL', f'The answer is B. BECAUSE: {E} {L}', 'The answer is B.'),
        ('LA', f'{L} The answer is B.', 'The answer is B.'),
        ('EA', f'{E} The answer is B.', 'The answer is B.'),
        ('LEA', f'{L} {E} The answer is B.', ' The answer is B.'),
        ('ELA', f'{E} {L} The answer is B.', ' The answer is B.'),
        ('LEPA', f'LECTURE: {L}\nSOLUTION: {E}\n###\nANSWER: B.', '###\nANSWER: B.'),
    ],
)
def test_every_order_of_an_answer(order, answered, bare):
    assert write_problem(FULL, f'QCM-{order}')[1] == answered
    assert write_problem(BARE, f'QCM-{order}')[1] == bare


def test_no_format_is_left_out():
    orders = [
        {case[0] for case in mark.args[1]}
        for test in (test_every_order_of_a_question, test_every_order_of_an_answer)
        for mark in test.pytestmark
    ]
    assert orders == [set(QUESTIONS), set(ANSWERS)]


def test_only_a_part_that_opens_the_text_loses_its_heading():
    odd = dict(FULL, question='Question: what?', hint='Question: none.')
    asked, _ = write_problem(odd, 'QCM-A')
    assert asked == f'what?\nContext: none.\n{M}'  # then everywhere, as in the original
    asked, _ = write_problem(odd, 'CQM-A')
    assert asked == f'Context: Question: none.\nQuestion: Question: what?\n{M}'


def test_double_spaces_become_single_once():
    assert write_problem(dict(FULL, question='a   b'), 'QCM-A')[0].startswith('a  b\n')


@pytest.fixture
def folder(tmp_path):
    problems = {'1': FULL, '22': BARE, '3': FULL}
    (tmp_path / 'problems.json').write_text(json.dumps(problems))
    (tmp_path / 'pid_splits.json').write_text(json.dumps(dict(train=['22', '1'], minitest=['3'])))
    return tmp_path


def test_a_split_becomes_rows_in_its_order_that_can_be_learned(folder):
    first, second = convert(folder, 'train', 'QCM-LEA')
    assert first == {
        'id': '22',
        'conversations': [
            {'from': 'human', 'value': f'{Q}\nContext: N/A\n{M}'},
            {'from': 'gpt', 'value': ' The answer is B.'},
        ],
    }
    assert second['image'] == '1/image.png'
    assert second['conversations'][0]['value'] == f'{Q}\n{C}\n{M}\n<image>'
    assert to_sample(second, 'images/train')['img_path'] == 'images/train/1/image.png'


@pytest.mark.parametrize(
    ('split', 'format_', 'message'),
    [
        ('trian', 'QCM-A', "unknown split 'trian'. Did you mean train"),
        ('train', 'QMC-A', "unknown ScienceQA question format 'QMC'. Did you mean"),
        ('train', 'QCM', "unknown ScienceQA answer format ''"),
    ],
)
def test_an_unknown_name_is_answered_with_those_there_are(folder, split, format_, message):
    with pytest.raises(ConfigError, match=message):
        convert(folder, split, format_)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(answer=2), 'problem 3 has answer 2, expected the index of one of its choices'),
        (dict(choices=list('abcdef')), 'expected a list of 1 to 5'),
        (dict(hint=None), 'problem 3 has hint None, expected a text'),
    ],
)
def test_a_problem_that_is_not_one_is_named(folder, change, message):
    (folder / 'problems.json').write_text(json.dumps({'3': dict(FULL, **change)}))
    with pytest.raises(DataError, match=message):
        convert(folder, 'minitest', 'QCM-A')
    with pytest.raises(DataError, match='problem 22 of pid_splits.json is not in problems.json'):
        convert(folder, 'train', 'QCM-A')


def test_a_folder_that_is_not_scienceqa_is_refused(tmp_path):
    with pytest.raises(DataError, match='cannot read .*problems.json'):
        convert(tmp_path, 'train', 'QCM-A')
    (tmp_path / 'problems.json').write_text('[]')
    with pytest.raises(DataError, match='holds a JSON list, expected an object'):
        convert(tmp_path, 'train', 'QCM-A')
