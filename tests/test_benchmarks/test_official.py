"""What the sets' own files and scripts hold that is easily got wrong, each worked by hand."""

import pytest

from mmllava.benchmarks.registry import BENCHMARKS, read
from mmllava.benchmarks.types import Item
from mmllava.benchmarks.vqa import score_vqa, score_vqav2
from mmllava.errors import DataError


@pytest.mark.parametrize(
    ('truths', 'answer', 'accuracy'),
    [
        # All agree: they are compared as they are, and the answer is written with digits.
        (['one'] * 10, '1', 0),
        (['one'] * 10, 'one', 0),  # written '1'
        (['1'] * 10, 'one', 100),
        (['yes.'] * 10, 'yes.', 0),  # the answer loses its period, theirs do not
        # They differ: punctuation goes, and nothing else.
        (['yes.'] * 9 + ['no'], 'yes', 100),
        (['the cat'] * 9 + ['dog'], 'the cat', 0),  # written 'cat'
        (['cat'] * 9 + ['the cat'], 'the cat', 100),
        (['one'] * 8 + ['1'] * 2, 'one', 60),  # two said 1: (2 x 1/3 + 8 x 2/3) / 10
        (['Cat'] * 9 + ['dog'], 'Cat', 0),  # written small
    ],
)
def test_vqav2_changes_peoples_answers_only_as_its_own_script_does(truths, answer, accuracy):
    scores = score_vqav2([Item(1, truth=truths)], [answer])
    assert scores['accuracy'] == pytest.approx(accuracy)
    if truths == ['one'] * 10:
        assert score_vqa([Item(1, truth=truths)], [answer])['accuracy'] == 100  # LLaVA's


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


def test_an_mmbench_file_with_some_answers_is_refused_too(copied):
    file = copied('mmbench') / 'mmbench_dev_20230712.tsv'
    lines = file.read_text().split('\n')
    file.write_text('\n'.join([*lines[:1], lines[1].replace('\tA\t', '\t\t'), *lines[2:]]))
    with pytest.raises(DataError, match=r'1 of 5 records of mmbench .* first is 241'):
        read('mmbench', '', dict(questions=str(file)), {})


@pytest.mark.parametrize('name', ['mmbench', 'seed', 'mmvet', 'llava_bench'])
def test_a_judge_gets_no_empty_answer_for_one_that_failed(name):
    items = [Item(number, dict(question='?')) for number in (1, 2)]
    (content,) = BENCHMARKS[name].submit(items, [None, 'A']).values()
    assert len(content) == 1
    assert 'A' in str(content)


def test_popes_file_with_a_gap_is_not_written():
    items = [Item(k, dict(question='?'), groups=dict(kind=k)) for k in ('random', 'popular')]
    files = BENCHMARKS['pope'].submit(items, [None, 'No'])
    assert files == {'pope_popular.jsonl': [dict(question='?', answer='No')]}
