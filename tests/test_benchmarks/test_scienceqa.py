"""ScienceQA: problems become questions, letters become accuracies by subject, context and grade."""

import json

import pytest

from mmllava.benchmarks.scienceqa import read_scienceqa, score_scienceqa, submit_scienceqa
from mmllava.errors import ConfigError, DataError

# What benchmark_samples.py makes, problems 100 to 104:
#   id   subject  context        grade  options  right
#   100  NAT      image        1      3        A
#   101  SOC      hint           4      3        B
#   102  LAN      both           7      3        A
#   103  NAT      neither        10     3        B
#   104  SOC      neither        12     2        A


@pytest.fixture
def files(made):
    folder = made / 'scienceqa'
    return dict(
        problems=folder / 'problems.json',
        splits=folder / 'pid_splits.json',
        images=folder / 'images/test',
    )


def test_a_problem_is_written_in_the_forms_of_the_protocols(files):
    items = read_scienceqa(**files)
    assert [item.id for item in items] == ['100', '101', '102', '103', '104']
    assert items[0].image.endswith('images/test/100/image.png')
    assert items[1].image is None
    assert items[1].fields['cqm'] == (
        'Context: The square is small.\nQuestion: Which colour is number 1?\n'
        'Options: (A) red (B) green (C) blue'
    )
    assert items[1].fields['hint'] == 'Context: The square is small.\n'
    assert items[0].fields['hint'] == ''
    assert items[4].fields['options'] == 'A. red\nB. green'
    assert [item.id for item in read_scienceqa(**files, split='train')] == ['100']


def test_accuracies_worked_by_hand(files):
    items = read_scienceqa(**files)
    # right, right (by sentence), no letter, wrong, a letter that is not offered
    answers = ['A', 'So. The answer is B.', 'red', 'A', 'C']
    assert score_scienceqa(items, answers) == {
        'accuracy': 40.0,  # 2 of 5
        'NAT': 50.0,  # 100 right, 103 wrong
        'SOC': 50.0,  # 101 right, 104 wrong
        'LAN': 0.0,  # 102
        'TXT': 50.0,  # 101 right, 102 wrong
        'IMG': 50.0,  # 100 right, 102 wrong: a hint does not take it out
        'NO': 0.0,  # 103, 104
        'G1-6': 100.0,  # 100, 101
        'G7-12': 0.0,  # 102, 103, 104
        'unread': 40.0,  # 102, 104
    }


def test_a_missing_answer_is_wrong_and_the_result_file_is_the_originals(files):
    items = read_scienceqa(**files)
    answers = ['A', 'B', 'A', None, 'A']
    assert score_scienceqa(items, answers)['accuracy'] == 80.0
    assert submit_scienceqa(items, answers)['scienceqa_result.json'] == dict(
        acc=80.0,
        correct=4,
        count=5,
        results={'100': 0, '101': 1, '102': 0, '103': -1, '104': 0},
        outputs={'100': 'A', '101': 'B', '102': 'A', '103': 'FAILED', '104': 'A'},
    )


def test_the_same_answers_give_the_same_score_each_time(files):
    """mmpretrain's ScienceQAMetric draws a letter where it finds none."""
    items = read_scienceqa(**files)
    answers = ['The answer is A'] * 5
    assert len({str(score_scienceqa(items, answers)) for _ in range(20)}) == 1


def test_questions_of_llavas_own_file_stand_for_those_that_are_made(files, tmp_path):
    rows = [
        dict(
            id=str(100 + n),
            conversations=[{'from': 'human', 'value': f'Own {n}?\n<image>'}, {'from': 'gpt'}],
        )
        for n in range(5)
    ]
    own = tmp_path / 'llava_test_CQM-A.json'
    own.write_text(json.dumps(rows))
    assert read_scienceqa(**files, questions=own)[3].fields['cqm'] == 'Own 3?'
    own.write_text(json.dumps(rows[:3]))
    with pytest.raises(DataError, match="the id '103', which is not in .*same split"):
        read_scienceqa(**files, questions=own)


@pytest.mark.parametrize(
    ('file', 'change', 'message'),
    [
        ('problems.json', lambda p: {}, 'problems.json is empty'),
        ('problems.json', lambda p: [p], 'problems.json holds a list, expected an object'),
        ('problems.json', lambda p: p.pop('102') and None, "the id '102', which is not in"),
        ('problems.json', lambda p: p['101'].pop('hint') and None, '101 has hint None'),
        ('problems.json', lambda p: p['101'].pop('grade') and None, '101 has no "grade"'),
        ('problems.json', lambda p: p['101'].update(answer=3), '101 has answer 3'),
        ('problems.json', lambda p: p['101'].update(subject='art'), "the subject 'art'"),
        ('problems.json', lambda p: p['101'].update(grade='first'), "the grade 'first'"),
        ('problems.json', lambda p: p['100'].update(image='../../../x.png'), 'lies outside of'),
        ('pid_splits.json', lambda s: s['test'].append('101'), "id '101' of .* again"),
        ('pid_splits.json', lambda s: s.update(test=[]), "has no id in 'test'"),
        ('pid_splits.json', lambda s: s.update(test=None), 'has "test" .* a list'),
    ],
)
def test_a_bad_file_is_refused_with_the_record(copied, spoil, file, change, message):
    folder = copied('scienceqa')
    spoil(folder / file, change)
    with pytest.raises(DataError, match=message):
        read_scienceqa(folder / 'problems.json', folder / 'pid_splits.json', folder / 'images')


def test_an_unknown_split_is_answered_with_those_that_are_there(files):
    with pytest.raises(ConfigError, match="unknown split of ScienceQA 'tset'. Did you mean test"):
        read_scienceqa(**files, split='tset')
