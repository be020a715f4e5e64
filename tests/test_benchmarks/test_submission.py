"""Files for servers and judges: their formats, and whole or not at all."""

import json

import pytest

from mmllava.benchmarks import submission
from mmllava.benchmarks.submission import write_submission

ROWS = [dict(index=1, question='a\tb', prediction='A'), dict(index=2, question='c', prediction='')]


def test_each_name_says_its_format(tmp_path):
    files = {'a.json': ROWS, 'b.jsonl': ROWS, 'sub/c.txt': 'as it is\n'}
    assert len(write_submission(files, tmp_path / 'new')) == 3
    new = tmp_path / 'new'
    assert json.loads((new / 'a.json').read_text()) == ROWS
    assert [json.loads(line) for line in (new / 'b.jsonl').read_text().splitlines()] == ROWS
    assert (new / 'sub/c.txt').read_text() == 'as it is\n'


def test_a_table_is_tabs_where_openpyxl_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(submission, 'find_spec', lambda name: None)
    (path,) = write_submission({'t.xlsx': ROWS}, tmp_path)
    assert path.name == 't.tsv'
    assert path.read_text() == 'index\tquestion\tprediction\n1\ta b\tA\n2\tc\t\n'


def test_a_table_is_a_workbook_where_openpyxl_is(tmp_path):
    openpyxl = pytest.importorskip('openpyxl')
    (path,) = write_submission({'t.xlsx': ROWS}, tmp_path)
    rows = list(openpyxl.load_workbook(path).active.values)
    assert rows[:2] == [('index', 'question', 'prediction'), (1, 'a\tb', 'A')]
    (path,) = write_submission({'f.xlsx': [dict(index=1, prediction='=1+1')]}, tmp_path)
    cell = openpyxl.load_workbook(path).active['B2']
    assert (cell.data_type, cell.value) == ('s', '=1+1')


def test_a_file_that_cannot_be_written_leaves_the_one_before(tmp_path):
    (tmp_path / 'a.json').write_text('before')
    with pytest.raises(TypeError):
        write_submission({'a.json': {1, 2}}, tmp_path)
    assert (tmp_path / 'a.json').read_text() == 'before'
    assert [file.name for file in tmp_path.iterdir()] == ['a.json']
