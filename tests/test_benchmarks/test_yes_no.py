"""POPE and MME: files read, answers scored by hand, bad files refused."""

import pytest

from mmllava.benchmarks.registry import BENCHMARKS
from mmllava.benchmarks.types import Item
from mmllava.benchmarks.yes_no import read_mme, read_pope, score_mme, score_pope, submit_mme
from mmllava.errors import DataError


def pope(folder):
    return read_pope(folder, random=folder / 'coco_pope_random.json')


def mme(folder):
    return read_mme(folder / 'MME_Benchmark_release_version')


READERS = {'pope': ('pope', pope), 'mme': ('mme', mme)}  # name -> (folder of samples, reader)


def test_pope_by_hand(made):
    folder = made / 'pope'
    items = read_pope(
        made / 'coco/val2014',
        **{k: folder / f'coco_pope_{k}.json' for k in ('random', 'popular', 'adversarial')},
    )
    assert len(items) == 18
    assert (items[0].id, items[6].id) == ('random/1', 'popular/1')
    # labels yes, no, yes, no, yes, no; random all right, popular all "yes", the last: none answered
    answers = ['Yes', 'No'] * 3 + ['Yes'] * 6 + [None] * 6
    scores = score_pope(items, answers)
    assert scores['random/F1'] == 100
    assert scores['popular/precision'] == 50
    assert scores['popular/F1'] == pytest.approx(200 / 3)  # 2 x 0.5 x 1 / 1.5
    assert scores['adversarial/accuracy'] == 0  # missing is wrong
    assert scores['F1'] == pytest.approx((100 + 200 / 3 + 0) / 3)


def test_mme_by_hand(made):
    items = mme(made / 'mme')
    assert len(items) == 14 * 2 * 2
    assert items[0].fields['plain'] == 'Is it red?'
    answers = ['yes', 'no', 'yes', 'yes'] + ['no'] * 52
    scores = score_mme(items, answers)
    assert scores['existence'] == 125  # 3 of 4, and 1 of 2 images with both
    assert scores['count'] == 50  # 2 of 4, none with both
    assert scores['perception'] == 125 + 9 * 50
    line = submit_mme(items, answers)['mme/existence.txt'].splitlines()[0]
    assert line == '00000.jpg\tIs it red? Please answer yes or no.\tYes\tyes'
    alone = read_mme(made / 'mme/MME_Benchmark_release_version', tasks=['OCR'])
    assert {item.groups['task'] for item in alone} == {'OCR'}


@pytest.mark.parametrize(
    ('name', 'file', 'change', 'message'),
    [
        ('pope', 'coco_pope_random.json', '', 'is empty'),
        ('pope', 'coco_pope_random.json', '{"question_id": 1', 'line 1 is not JSON'),
        (
            'pope',
            'coco_pope_random.json',
            '{"question_id": 1, "image": "a.jpg", "text": "?", "label": "maybe"}',
            "line 1 has the label 'maybe', expected yes or no",
        ),
        (
            'pope',
            'coco_pope_random.json',
            '{"question_id": 1, "image": "a.jpg", "text": "?"}',
            'line 1 has no "label"',
        ),
        (
            'mme',
            'MME_Benchmark_release_version/OCR/00090.txt',
            'One?\tYes\n',
            'has 1 lines, expected two',
        ),
        (
            'mme',
            'MME_Benchmark_release_version/OCR/00090.txt',
            'One?\tYes\nTwo? No\n',
            'line 2 is .* expected question, tab, Yes or No',
        ),
    ],
)
def test_a_bad_file_is_refused_with_file_record_and_fix(refused, name, file, change, message):
    folder, read = READERS[name]
    refused(folder, file, change, message, read)


def test_a_missing_task_is_named(tmp_path):
    (tmp_path / 'MME_Benchmark_release_version').mkdir()
    with pytest.raises(DataError, match='no folder .*existence; MME has one for each of its 14'):
        mme(tmp_path)


def test_popes_file_with_a_gap_is_not_written():
    items = [Item(k, dict(question='?'), groups=dict(kind=k)) for k in ('random', 'popular')]
    files = BENCHMARKS['pope'].submit(items, [None, 'No'])
    assert files == {'pope_popular.jsonl': [dict(question='?', answer='No')]}
