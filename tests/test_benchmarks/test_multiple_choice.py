"""MMBench and SEED-Bench: files read, answers scored by hand, bad files refused."""

import pytest

from mmllava.benchmarks.multiple_choice import (
    read_mmbench,
    read_seed,
    score_mmbench,
    score_seed,
    submit_mmbench,
)
from mmllava.benchmarks.registry import read
from mmllava.errors import DataError
from tests.test_benchmarks.conftest import drop, twice

MMBENCH = 'mmbench_dev_20230712.tsv'
READERS = {  # name -> (folder of samples, reader)
    'seed': ('seed', lambda f: read_seed(f / 'SEED-Bench.json', f)),
    'mmbench': ('mmbench', lambda f: read_mmbench(f / MMBENCH)),
}


def test_mmbench_by_hand(made):
    file = made / 'mmbench/mmbench_dev_20230712.tsv'
    items = read_mmbench(file)
    assert [item.id for item in items] == [241, 242, 243, 244, 1000241]
    assert items[0].choices == 2  # options end at the first nan
    assert items[1].fields['hint'] == 'Look.\nAgain.\n'
    assert items[3].image == items[0].image  # a row that names another
    # right letters A, A, B, B; the first question's second round: B
    scores = score_mmbench(items, ['A', 'B. green', 'green', None, 'A'])
    assert scores == {
        'accuracy': 25.0,  # the third alone
        'vanilla': 50.0,  # the first and the third
        'unread': 20.0,
        'sight': 25.0,
        'colour': 25.0,
    }
    rows = submit_mmbench(items, ['A'] * 5)['mmbench_submission.xlsx']
    assert list(rows[0]) == ['index', 'question', *'ABCD', 'prediction', 'answer', 'split']


def test_a_circular_question_is_right_only_in_every_round(made):
    items = read_mmbench(made / 'mmbench/mmbench_dev_20230712.tsv', circular=True)
    # the file has the rounds of the first; those of the others are made
    assert [item.id for item in items[:4]] == [241, 242, 1000242, 2000242]
    assert (items[0].id, items[-1].id, len(items)) == (241, 1000241, 1 + 4 + 2 + 4 + 1)
    assert items[0].fields['options'] == 'A. red\nB. green'
    assert items[-1].fields['options'] == 'A. green\nB. red'
    assert items[2].fields['options'] == 'A. green\nB. blue\nC. black\nD. red'
    assert (items[0].truth, items[-1].truth, items[2].truth) == ('A', 'B', 'D')
    always_a = score_mmbench(items, ['A'] * 12)
    assert (always_a['accuracy'], always_a['vanilla']) == (0, 50)
    knowing = score_mmbench(items, [item.truth for item in items])
    assert (knowing['accuracy'], knowing['vanilla']) == (100, 100)


def test_seed_by_hand(made):
    items = READERS['seed'][1](made / 'seed')
    assert items[2].image.endswith('SEED-Bench-video-image/10_v2.png')
    # right: A B C D A B; the letter and nothing else
    scores = score_seed(items, ['A', 'B.', 'C', 'D', 'a', None])
    assert scores == pytest.approx(
        {
            'accuracy': 50.0,
            'image': 50.0,  # 0, 1, 3, 4: A and D
            'video': 50.0,  # 2, 5
            'Scene Understanding': 50.0,  # 0, 4
            'Instance Identity': 50.0,  # 1, 3
            'Action Recognition': 50.0,
        }
    )
    assert len(read_seed(made / 'seed/SEED-Bench.json', made, data_type='video')) == 2


@pytest.mark.parametrize(
    ('name', 'file', 'change', 'message'),
    [
        ('seed', 'SEED-Bench.json', drop('questions', 'choice_c'), 'has no "choice_c"'),
        ('seed', 'SEED-Bench.json', twice('questions'), "question_id '101669' of .* again"),
        (
            'seed',
            'SEED-Bench.json',
            lambda c: c['questions'][1].update(answer='E'),
            r"questions\[1\] has the answer 'E', expected A to D",
        ),
        ('seed', 'SEED-Bench.json', lambda c: c.update(question_type=[1]), 'has "question_type" '),
        (
            'seed',
            'SEED-Bench.json',
            lambda c: c.update(question_type={'Sight': [1]}),
            'question_type has "Sight" .*expected a number',
        ),
        ('mmbench', MMBENCH, 'index\tquestion\n', 'has no column image, A, B'),
        ('mmbench', MMBENCH, 'index\tquestion\timage\tA\tB\n', 'has no rows'),
        (
            'mmbench',
            MMBENCH,
            'index\tquestion\timage\tA\tB\n1\tq\t!!!\tx\ty\n',
            'row 1 has the image .* neither base64 nor the index',
        ),
        (
            'mmbench',
            MMBENCH,
            'index\tquestion\timage\tA\tB\n1\tq\tQUJD\tx\ty\n1\tq\tQUJD\tx\ty\n',
            'row 2 has the index 1 of .*row 1 again',
        ),
        (
            'mmbench',
            MMBENCH,
            'index\tquestion\timage\tA\tB\tanswer\n1\tq\tQUJD\tx\ty\tC\n',
            "row 1 has the answer 'C', and 2 options",
        ),
        (
            'mmbench',
            MMBENCH,
            'index\tquestion\timage\tA\tB\n1\tq\tQUJD\n',
            'row 1 has more or fewer cells than the header',
        ),
    ],
)
def test_a_bad_file_is_refused_with_file_record_and_fix(refused, name, file, change, message):
    folder, read = READERS[name]
    refused(folder, file, change, message, read)


def test_an_mmbench_file_with_some_answers_is_refused_too(copied):
    file = copied('mmbench') / 'mmbench_dev_20230712.tsv'
    lines = file.read_text().split('\n')
    file.write_text('\n'.join([*lines[:1], lines[1].replace('\tA\t', '\t\t'), *lines[2:]]))
    with pytest.raises(DataError, match=r'1 of 5 records of mmbench .* first is 241'):
        read('mmbench', '', dict(questions=str(file)), {})


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(DataError, match='cannot read .*gone.tsv: No such file'):
        read_mmbench(tmp_path / 'gone.tsv')
