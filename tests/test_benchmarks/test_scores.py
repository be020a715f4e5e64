"""Scores of each sample by itself, as its benchmark counts it."""

import pytest

from mmllava.benchmarks.registry import BENCHMARKS
from mmllava.benchmarks.scores import explain
from mmllava.benchmarks.types import Item

REFERENCES = ['a small cat sits on a red mat', 'a cat on a mat']
CAPTIONS = [Item(k, truth=REFERENCES if k else ['two dogs run on the wet beach']) for k in (0, 1)]
LETTERS = dict(A='red', B='blue')


def run(name, items, answers):
    benchmark = BENCHMARKS[name]
    return explain(benchmark, items, answers, benchmark.score(items, answers))


@pytest.mark.parametrize(
    ('name', 'items', 'answers', 'own'),
    [
        ('gqa', [Item(k, truth='red') for k in range(3)], ['Red.', 'blue', None], [100, 0, 0]),
        ('okvqa', [Item(k, truth=['a'] * 3 + ['b'] * 7) for k in range(2)], ['a', 'c'], [90, 0]),
        (
            'pope',
            [Item(k, truth='no', groups=dict(kind='random')) for k in range(3)],
            ['No.', 'A cat.', None],
            [100, 0, 0],
        ),
        (
            'mme',
            [Item(k, image_id='x', truth='yes', groups=dict(task='OCR')) for k in range(2)],
            ['Yes', 'perhaps'],
            [100, 0],
        ),
        (
            'mmbench',
            [Item(1, truth='A', record=LETTERS), Item(1_000_001, truth='B', record=LETTERS)],
            ['A', 'A'],
            [100, 0],
        ),
    ],
)
def test_each_sample_has_what_its_answer_got(name, items, answers, own):
    rows = run(name, items, answers)
    assert [row['accuracy'] for row in rows] == pytest.approx(own)
    assert [row['reference'] for row in rows] == [item.truth for item in items]


def test_each_caption_has_its_own_scores_and_a_failed_one_none():
    items = [*CAPTIONS, Item(2, truth=['a house'])]
    rows = run('coco', items, ['two dogs', 'a small cat sits on a red mat', None])
    assert rows[1]['CIDEr'] > rows[0]['CIDEr']
    assert rows[1]['ROUGE_L'] == pytest.approx(1)
    assert rows[2] == dict(reference=['a house'])


def test_where_a_judge_has_the_score_there_is_the_reference_alone():
    assert explain(BENCHMARKS['mmvet'], [Item(1, truth='x')], ['x'], {}) == [dict(reference='x')]
