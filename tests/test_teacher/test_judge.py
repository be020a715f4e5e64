"""Ratings and scores, against cases that were worked by hand."""

import json

import pytest

from mmllava.errors import ConfigError, DataError
from mmllava.teacher import judge
from mmllava.teacher.judge import Item, Rules, parse_2023, parse_careful
from tests.test_teacher.data import write_lines, write_pictures

FAILED = (-1.0, -1.0)


@pytest.mark.parametrize(
    ('review', 'ratings'),
    [
        ('8 7\nBoth are good.', (8, 7)),
        ('8,7', (8, 7)),
        ('8.5 7\r\nGood.', (8.5, 7)),
        ('12 -3', (12, -3)),
        ('8, 7\nGood.', FAILED),  # the comma is a second space
        ('8  7', FAILED),
        ('8 7 ', FAILED),
        (' 8 7', FAILED),
        ('\n8 7', FAILED),
        ('8/10 7/10', FAILED),
        ('Assistant 1: 8', FAILED),
        ('8', FAILED),
        ('', FAILED),
        ('nan 7', FAILED),
    ],
)
def test_ratings_are_read_as_the_original_reads_them(review, ratings):
    assert parse_2023(review) == ratings


@pytest.mark.parametrize(
    ('review', 'ratings'),
    [
        ('8 7\nBoth are good.', (8, 7)),
        ('\n\n8, 7.5 \n', (8, 7.5)),
        ('8/10 7/10', (8, 7)),
        ('Scores: 8 and 7', (8, 7)),
        ('8 - 7', None),
        ('12 7', None),
        ('0 7', None),
        ('Assistant 1: 8, Assistant 2: 7', None),
        ('**8.5 / 10, 7/10**', (8.5, 7)),
        ('Assistant 1 is better than Assistant 2.', None),
        ('Assistant 1: 8, the other is worse by 2', None),
        ('8 7 6', None),
        ('-8 7', None),
        ('I cannot say.', None),
        ('', None),
    ],
)
def test_careful_reads_what_a_person_would_and_nothing_doubtful(review, ratings):
    assert parse_careful(review) == ratings


def test_the_relative_score_of_2023_by_hand():
    rated = [('conv', (8, 7)), ('conv', (9, 9)), ('conv', (8, 4)), ('detail', (10, 5))]
    scores = judge.score_2023(rated)
    # conv: means 25/3 = 8.333 and 20/3 = 6.667; 6.667 / 8.333 = 0.80007
    assert scores['conv'] == dict(score=80.0, reference=83.3, candidate=66.7, questions=3, unread=0)
    # all: 35/4 = 8.75 and 25/4 = 6.25; 6.25 / 8.75 = 0.7143. Not the mean of 80 and 50.
    assert scores['all']['score'] == 71.4
    assert list(scores) == ['all', 'conv', 'detail']


def test_means_are_rounded_before_they_are_divided():
    # 1/3 is 0.333 and 1/6 is 0.167: 50.15 instead of 50
    rated = [
        ('conv', (1, 1)),
        *[('conv', (0, 0))] * 2,
        *[('conv', (1, 0)), ('conv', (0, 0))],
        ('conv', (0, 0)),
    ]
    assert judge.score_2023(rated)['conv']['score'] == 50.2


def test_ratings_that_cannot_be_read_stay_in_the_means_of_2023():
    # (8 - 1)/2 = 3.5 and (4 - 1)/2 = 1.5; without the failed one it would be 50
    scores = judge.score_2023([('conv', (8, 4)), ('conv', FAILED)])
    assert scores['conv'] == dict(score=42.9, reference=35.0, candidate=15.0, questions=2, unread=1)
    assert judge.score_2023([('conv', FAILED)] * 3)['all']['score'] == 100.0
    assert judge.score_2023([('conv', (1, 1)), ('conv', FAILED)])['all']['score'] is None


def test_the_careful_score_by_hand():
    # reference 8 and 6 -> 7; 9 and 9 -> 9. candidate 6 and 8 -> 7; 5 and 5 -> 5.
    rated = [('conv', (8, 6), (8, 6)), ('conv', (9, 5), (5, 9)), ('conv', None, (9, 1))]
    column = judge.score_careful(rated)['all']
    assert column['score'] == 75.0  # 12 / 16
    assert (column['reference'], column['candidate']) == (80.0, 60.0)
    assert (column['questions'], column['excluded']) == (3, 1)
    # first place was worth 2 for both in the first question, nothing in the second
    assert column['first_bias'] == 1.0
    assert column['interval'] == [55.6, 100.0]  # both questions are alike in a resample, or not
    assert judge.score_careful(rated) == judge.score_careful(rated)


def test_nothing_that_can_be_read_is_no_score():
    assert judge.score_careful([('conv', None, None)])['all'] == dict(questions=1, excluded=1)


def test_an_interval_holds_the_true_score_and_narrows_with_more_questions():
    few = [('c', (8, 4 + n % 5), (4 + n % 5, 8)) for n in range(10)]
    narrow, wide = (judge.score_careful(r)['all']['interval'] for r in (few * 9, few))
    assert wide[0] < narrow[0] < 75 < narrow[1] < wide[1]


ITEM = Item('3', 'conv', 'What is it?', 'A cat.', 'A dog.', 'A pet.\n\ncat: [0.1, 0.2, 0.3, 0.4]')
RULES = Rules('Be fair.', {'': ('Assistant', 'Rate them.')})


def test_the_judge_reads_context_question_reference_candidate_and_rule():
    request = judge.to_request(ITEM, RULES, swapped=False)
    assert request.messages == (
        ('system', 'Be fair.'),
        (
            'user',
            '[Context]\nA pet.\n\ncat: [0.1, 0.2, 0.3, 0.4]\n\n'
            '[Question]\nWhat is it?\n\n'
            '[Assistant 1]\nA cat.\n\n[End of Assistant 1]\n\n'
            '[Assistant 2]\nA dog.\n\n[End of Assistant 2]\n\n'
            '[System]\nRate them.\n\n',
        ),
    )
    assert (request.temperature, request.max_tokens) == (0.2, 1024)
    swapped = judge.to_request(ITEM, RULES, swapped=True).messages[1][1]
    assert '[Assistant 1]\nA dog.\n\n[End' in swapped and '[Assistant 2]\nA cat.\n\n' in swapped


def test_rules_in_the_layout_of_the_original_are_chosen_by_category(tmp_path):
    file = tmp_path / 'rule.json'
    stored = dict(conv=dict(role='Helper', prompt='A'), detail=dict(role='Helper', prompt='B'))
    file.write_text(json.dumps(stored))
    rules = judge.read_rules('coco', file)
    assert rules.of('detail') == ('Helper', 'B')
    assert (
        '[End of Helper 2]\n\n[System]\nA\n\n'
        in judge.to_request(ITEM, rules, False).messages[1][1]
    )
    with pytest.raises(ConfigError, match="unknown category of a question.* 'convs'.*mean conv"):
        rules.of('convs')
    file.write_text('{"conv": "Rate them."}')
    with pytest.raises(DataError, match='is no rule file; expected'):
        judge.read_rules('coco', file)
    assert judge.read_rules('coco').digest() != judge.read_rules('wild').digest()


@pytest.fixture
def files(tmp_path):
    """Questions, references, candidates, context; the answers in another order."""
    questions = [
        dict(question_id=n, image=f'{n}.png', text=f'What is it? {n}', category='conv')
        for n in range(4)
    ]
    return [
        write_lines(tmp_path / 'q.jsonl', questions),
        write_lines(tmp_path / 'r.jsonl', [dict(question_id=n, text=f'R{n}') for n in range(4)]),
        write_lines(
            tmp_path / 'c.jsonl', [dict(question_id=n, text=f'C{n}') for n in (3, 1, 0, 2)]
        ),
        write_pictures(tmp_path),
    ]


def test_answers_are_paired_by_question_and_not_by_line(files):
    items = judge.read_items(*files, bench='coco')
    assert [(i.reference, i.candidate) for i in items] == [(f'R{n}', f'C{n}') for n in range(4)]
    assert items[1].context == (
        'A lamp on a table.\nThere is a lamp in the room.\n\n'
        'lamp: [0.1, 0.25, 0.5, 0.123]\ntable: [0.0, 0.5, 1.0, 1.0]'
    )
    wild = judge.read_items(*files, bench='wild')
    assert (wild[1].category, wild[1].context.count('\n')) == ('llava_bench_conv', 1)
    general = judge.read_items(*files[:3], None, bench='general')
    assert '[Context]' not in judge.to_request(general[0], RULES, False).messages[1][1]
    assert (judge.guess_bench(files[3]), judge.guess_bench(None)) == ('coco', 'general')


@pytest.mark.parametrize(
    ('file', 'rows', 'message'),
    [
        (2, [dict(question_id=1, text='x')], 'has no answer to 3 of 4 questions: 0, 2, 3.'),
        (1, [dict(question_id=0)], 'line 1 has no "question_id" and "text"'),
        (0, [dict(question_id=0, text='x')] * 2, 'line 2 has question 0 again'),
        (0, [dict(question_id=0, text='x', image='no.png')], "its image 'no.png'"),
    ],
)
def test_files_that_do_not_fit_are_named(files, file, rows, message):
    write_lines(files[file], rows)
    with pytest.raises(DataError, match=message):
        judge.read_items(*files, bench='coco')


def test_a_bench_without_its_context_is_refused(files):
    with pytest.raises(ConfigError, match='bench coco needs --context'):
        judge.read_items(*files[:3], None, bench='coco')
    with pytest.raises(ConfigError, match='bench general has no use for --context'):
        judge.read_items(*files, bench='general')
