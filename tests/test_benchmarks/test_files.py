"""JSON, JSON lines and tables are read with the place of each record, or refused."""

import json

import pytest

from mmllava.benchmarks.files import read_json, read_table
from mmllava.benchmarks.vqa import read_gqa
from mmllava.errors import DataError
from mmllava.io import read_records


def test_a_key_that_comes_twice_is_refused(tmp_path):
    file = tmp_path / 'a.json'
    file.write_text('{"1": {"question": "a"}, "1": {"question": "b"}}')
    with pytest.raises(
        DataError, match=r"a.json is not JSON: the key '1' stands twice in one object"
    ):
        read_json(file, dict)
    file.write_text('{"id": 1}\n{"id": 1, "id": 2}')
    with pytest.raises(DataError, match=r"line 2 is not JSON: the key 'id' stands twice"):
        read_records(file)


def test_a_whole_character_in_two_escapes_is_read(tmp_path):
    file = tmp_path / 'a.json'
    file.write_text(json.dumps(['\U0001f600']))
    assert '\\ud83d' in file.read_text()
    assert read_json(file, list) == ['\U0001f600']


def test_only_a_line_break_ends_a_line(tmp_path):
    file = tmp_path / 'a.jsonl'
    row = dict(text='one\u2028two\x85three')
    file.write_text(json.dumps(row, ensure_ascii=False) + '\r\n', encoding='utf-8', newline='')
    assert [found for _, found in read_records(file)] == [row]
    file.write_text('one\u2028two\tYes\n', encoding='utf-8')
    assert [cells for _, cells in read_table(file)] == [['one\u2028two', 'Yes']]


def test_a_file_that_is_not_json_is_refused(tmp_path):
    (tmp_path / 'binary.json').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(DataError, match='not text in UTF-8'):
        read_gqa(tmp_path / 'binary.json', tmp_path)
    (tmp_path / 'cut.json').write_text(json.dumps(dict(a=1))[:-1])
    with pytest.raises(DataError, match='is not JSON.*cut short'):
        read_gqa(tmp_path / 'cut.json', tmp_path)
