"""Predictions survive a kill, and runs with other settings never mix."""

import json

import numpy as np
import pytest

from mmllava.errors import DataError
from mmllava.evaluation.prediction_store import (
    PredictionFile,
    file_signature,
    sample_ids,
)
from mmllava.io import write_json, write_json_lines


def test_what_was_appended_is_read_back_by_id(tmp_path):
    file = PredictionFile(tmp_path / 'new')
    file.append([dict(id=3, text='a\nb'), dict(id=1, text='日本')])
    file.append([dict(id=3, text='later')])
    assert file.read() == {3: dict(id=3, text='later'), 1: dict(id=1, text='日本')}


def test_a_last_line_that_was_cut_short_is_passed_over_and_overwritten(tmp_path):
    file = PredictionFile(tmp_path)
    file.append([dict(id=0), dict(id=1)])
    file.file.write_bytes(file.file.read_bytes()[:-5])
    assert list(file.read()) == [0]
    file.append([dict(id=2)])
    assert list(file.read()) == [0, 2]


def test_a_damaged_line_is_named(tmp_path):
    file = PredictionFile(tmp_path)
    file.append([dict(id=0)])
    file.file.write_text('{"id": 0}\nnonsense\n')
    with pytest.raises(DataError, match=r'line 2 of .*predictions-0.jsonl is not a prediction'):
        file.read()


def test_the_files_of_all_processes_are_read_and_one_is_written(tmp_path):
    files = [PredictionFile(tmp_path, rank) for rank in (0, 1)]
    for rank, file in enumerate(files):
        file.append([dict(id=rank)])
    assert set(files[0].read()) == set(files[1].read()) == {0, 1}
    assert len(list(tmp_path.iterdir())) == 2


def test_a_failure_takes_no_answer_away(tmp_path):
    PredictionFile(tmp_path, 1).append([dict(id=0, error='cut short')])
    PredictionFile(tmp_path, 0).append([dict(id=0, text='a'), dict(id=1, text='b')])
    PredictionFile(tmp_path, 2).append([dict(id=1, error='cut short')])
    assert PredictionFile(tmp_path).read() == {0: dict(id=0, text='a'), 1: dict(id=1, text='b')}


@pytest.mark.parametrize(
    ('infos', 'ids'),
    [
        ([dict(question_id=7, image_id=1), dict(question_id=5, image_id=1)], [7, 5]),
        ([dict(image_id='a'), dict(image_id='b')], ['a', 'b']),
        ([dict(question_id=1, image_id=8), dict(question_id=1, image_id=9)], [8, 9]),
        ([dict(question_id=1), dict(question_id=None)], [0, 1]),
        ([dict(question_id=np.int64(3))], [3]),
        ([], []),
    ],
)
def test_a_sample_is_known_by_what_tells_all_apart(infos, ids):
    assert sample_ids(infos) == ids


def test_a_json_file_is_written_whole_or_not_at_all(tmp_path):
    write_json(tmp_path / 'x.json', [1])
    with pytest.raises(TypeError):
        write_json(tmp_path / 'x.json', [object()])
    assert json.loads((tmp_path / 'x.json').read_text()) == [1]
    assert [f.name for f in tmp_path.iterdir()] == ['x.json']


def test_half_a_letter_is_written_escaped_and_read_back(tmp_path):
    rows = [dict(id=1, question='red \ud800'), dict(id=2, question='日本')]
    file = PredictionFile(tmp_path)
    file.append(rows)
    assert list(file.read().values()) == rows
    write_json_lines(tmp_path / 'x.jsonl', rows)
    assert file.file.read_bytes() == (tmp_path / 'x.jsonl').read_bytes()
    half, whole = file.file.read_text(encoding='utf-8').splitlines()
    assert '\\ud800' in half and '日本' in whole
    write_json(tmp_path / 'x.json', rows)
    assert json.loads((tmp_path / 'x.json').read_text(encoding='utf-8')) == rows


@pytest.mark.parametrize('path', ['a\0.jpg', 'a\ud800.jpg', 'gone.jpg'])
def test_a_path_that_no_system_takes_is_marked_like_one_that_is_not_there(path):
    assert file_signature(path) == path
