"""Predictions survive a kill, and runs with other settings never mix."""

import json

import pytest

from mmllava.apis.predictions import PredictionFile, fingerprint, write_json
from mmllava.errors import DataError


def test_what_was_appended_is_read_back_by_index(tmp_path):
    file = PredictionFile(tmp_path / 'new', 'abc')
    file.append([dict(index=3, text='a\nb'), dict(index=1, text='日本')])
    file.append([dict(index=3, text='later')])
    assert file.read() == {3: dict(index=3, text='later'), 1: dict(index=1, text='日本')}


def test_a_last_line_that_was_cut_short_is_passed_over_and_overwritten(tmp_path):
    file = PredictionFile(tmp_path, 'abc')
    file.append([dict(index=0), dict(index=1)])
    file.file.write_bytes(file.file.read_bytes()[:-5])
    assert list(file.read()) == [0]
    file.append([dict(index=2)])
    assert list(file.read()) == [0, 2]


def test_a_damaged_line_is_named(tmp_path):
    file = PredictionFile(tmp_path, 'abc')
    file.append([dict(index=0)])
    file.file.write_text('{"index": 0}\nnonsense\n')
    with pytest.raises(DataError, match=r'line 2 of .*predictions-abc.0.jsonl is not a prediction'):
        file.read()


def test_the_files_of_all_processes_are_read_and_one_is_written(tmp_path):
    files = [PredictionFile(tmp_path, 'abc', rank) for rank in (0, 1)]
    for rank, file in enumerate(files):
        file.append([dict(index=rank)])
    assert set(files[0].read()) == set(files[1].read()) == {0, 1}
    assert len(list(tmp_path.iterdir())) == 2


def test_other_settings_or_weights_are_another_file(tmp_path):
    weights = tmp_path / 'w'
    weights.mkdir()
    (weights / 'model.safetensors').write_bytes(b'1')
    first = fingerprint(dict(prompt='a'), weights)
    assert first == fingerprint(dict(prompt='a'), weights)
    assert first != fingerprint(dict(prompt='b'), weights)
    (weights / 'model.safetensors').write_bytes(b'12')
    assert first != fingerprint(dict(prompt='a'), weights)
    PredictionFile(tmp_path, first).append([dict(index=0)])
    assert PredictionFile(tmp_path, 'other').read() == {}


def test_a_json_file_is_written_whole_or_not_at_all(tmp_path):
    write_json([1], tmp_path / 'x.json')
    with pytest.raises(TypeError):
        write_json([object()], tmp_path / 'x.json')
    assert json.loads((tmp_path / 'x.json').read_text()) == [1]
    assert [f.name for f in tmp_path.iterdir()] == ['x.json']
