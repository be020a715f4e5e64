"""tools/dataset_converters/scienceqa.py, as a user types it."""

import importlib.util
import json

import pytest

from tests.conftest import ROOT

PROBLEM = dict(
    question='Q?', choices=['x', 'y'], answer=0, hint='', lecture='', solution='', image='image.png'
)


@pytest.fixture(scope='module')
def tool():
    path = ROOT / 'tools/dataset_converters/scienceqa.py'
    spec = importlib.util.spec_from_file_location('scienceqa_tool', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'problems.json').write_text(json.dumps({'7': PROBLEM}))
    (tmp_path / 'pid_splits.json').write_text(json.dumps(dict(train=['7'])))
    return tmp_path


def test_it_writes_beside_the_problems_by_default(tool, folder, capsys):
    assert tool.main([str(folder), '--split', 'train']) == 0
    (row,) = json.loads((folder / 'llava_train_QCM-LEA.json').read_text())
    assert row['image'] == '7/image.png'
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last['records'] == last['images'] == 1


def test_it_writes_where_it_is_told(tool, folder):
    out = folder / 'sqa.json'
    assert tool.main([str(folder), '--split', 'train', '--format', 'CQM-A', '--out', str(out)]) == 0
    talk = json.loads(out.read_text())[0]['conversations']
    assert talk[0]['value'] == 'Context: N/A\nQuestion: Q?\nOptions: (A) x (B) y\n<image>'


def test_a_file_that_is_there_is_replaced_when_told_so(tool, folder):
    out = folder / 'sqa.json'
    out.write_text('[]')
    assert tool.main([str(folder), '--split', 'train', '--out', str(out), '--overwrite']) == 0
    assert len(json.loads(out.read_text())) == 1


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['--split', 'nope'], "unknown split 'nope'"),
        (['--split', 'train', '--format', 'X-A'], 'unknown ScienceQA question format'),
        (['--split', 'train', '--out', 'gone/a.json'], 'cannot write'),
        (['--split', 'train', '--out', 'problems.json'], 'one of the inputs'),
        (['--split', 'train', '--out', 'old.json'], 'exists already. Name another'),
    ],
)
def test_what_it_refuses_changes_no_file(tool, folder, args, message, capsys):
    (folder / 'old.json').write_text('[]')
    before = {f.name: f.read_bytes() for f in folder.iterdir()}
    if '--out' in args:
        args = [*args[:-1], str(folder / args[-1])]
    assert tool.main([str(folder), *args]) == 2
    assert message in capsys.readouterr().err
    assert {f.name: f.read_bytes() for f in folder.iterdir()} == before
