"""Benchmarks by name: what a config gets wrong, and answers in only some records, are refused."""

import pytest

from mmllava.benchmarks.registry import BENCHMARKS, read
from mmllava.benchmarks.types import Item
from mmllava.errors import DataError


def first_without(name):
    """Takes the truth out of the first record of a file."""

    def change(content):
        rows = content if name is None else content[name]
        row = rows[0] if isinstance(rows, list) else next(iter(rows.values()))
        row.pop('answers' if 'answers' in row else 'answer')

    return change


@pytest.mark.parametrize(
    ('folder', 'name', 'files', 'change', 'first'),
    [
        ('gqa', 'gqa', dict(questions='testdev_balanced_questions.json'), None, "'2000'"),
        ('textvqa', 'textvqa', dict(annotations='TextVQA_0.5.1_val.json'), 'data', '34602'),
        ('vizwiz', 'vizwiz', dict(annotations='Annotations/val.json'), None, "'VizWiz_val_0"),
    ],
)
def test_answers_in_some_records_only_are_refused(
    copied, spoil, folder, name, files, change, first
):
    root = copied(folder)
    spoil(root / next(iter(files.values())), first_without(change))
    with pytest.raises(DataError, match=f'1 of 6 records of {name} have no answer .* is {first}'):
        read(name, str(root), dict(files, images='.'), {})


@pytest.mark.parametrize('name', ['mmbench', 'seed', 'mmvet', 'llava_bench'])
def test_a_judge_gets_no_empty_answer_for_one_that_failed(name):
    items = [Item(number, dict(question='?')) for number in (1, 2)]
    (content,) = BENCHMARKS[name].submit(items, [None, 'A']).values()
    assert len(content) == 1
    assert 'A' in str(content)
