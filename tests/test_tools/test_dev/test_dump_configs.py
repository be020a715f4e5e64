"""A dump holds every leaf config as it resolves; a comparison lists what changed."""

import json

import pytest

from tests.conftest import ROOT
from tools.dev import dump_configs as tool

BASE = 'model = dict(type="Llava", size=336)\n'
LEAF = '_base_ = ["_base_/model.py"]\nmodel = dict(grid=[(1, 2), (2, 1)])\n'


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A repository with two leaves over one base, and a dump of it."""
    configs = tmp_path / 'configs'
    (configs / '_base_').mkdir(parents=True)
    (configs / '_base_/model.py').write_text(BASE)
    for name in ('a', 'b'):
        (configs / f'{name}.py').write_text(LEAF)
    monkeypatch.setattr(tool, 'ROOT', tmp_path)
    assert tool.main(['--out', str(tmp_path / 'before.jsonl')]) == 0
    return tmp_path


def compare(tree, capsys):
    capsys.readouterr()
    status = tool.main(['--compare', str(tree / 'before.jsonl')])
    lines = capsys.readouterr().out.splitlines()
    return status, lines[:-1], json.loads(lines[-1])


def test_a_dump_has_a_line_for_each_leaf_with_what_it_inherits(tree):
    lines = [json.loads(line) for line in (tree / 'before.jsonl').read_text().splitlines()]
    content = dict(model=dict(type='Llava', size=336, grid=[[1, 2], [2, 1]]))
    assert lines == [dict(config=f'configs/{n}.py', content=content) for n in ('a', 'b')]


def test_configs_written_in_another_way_are_equal(tree, capsys):
    (tree / 'configs/_base_/model.py').write_text('model = dict(grid=[(1, 2), (2, 1)])\n')
    for name in ('a', 'b'):
        text = '_base_ = ["_base_/model.py"]\nmodel = dict(size=336, type="Llava")\n'
        (tree / f'configs/{name}.py').write_text(text)
    status, lines, summary = compare(tree, capsys)
    assert (status, lines, summary['equal']) == (0, [], 2)


def test_a_difference_is_listed_once_with_every_config_that_has_it(tree, capsys):
    (tree / 'configs/_base_/model.py').write_text('model = dict(type="Llava", size=224)\n')
    (tree / 'configs/b.py').write_text(LEAF.replace('(2, 1)', '(2, 3)') + 'resume = True\n')
    status, lines, summary = compare(tree, capsys)
    assert status == 1
    assert lines == [
        'model.size: 336 -> 224',
        '  in 2: configs/a.py configs/b.py',
        'model.grid.1.1: 1 -> 3',
        '  in 1: configs/b.py',
        'resume: (absent) -> true',
        '  in 1: configs/b.py',
    ]
    assert summary == dict(configs=2, removed=0, added=0, differing=2, equal=0, differences=3)


def test_a_leaf_that_is_new_or_gone_is_named(tree, capsys):
    (tree / 'configs/a.py').rename(tree / 'configs/c.py')
    status, lines, summary = compare(tree, capsys)
    assert status == 1
    assert lines == ['removed: configs/a.py', 'added: configs/c.py']
    assert (summary['removed'], summary['added'], summary['equal']) == (1, 1, 1)


def test_a_file_that_is_no_dump_is_refused(tree, capsys):
    file = tree / 'other.jsonl'
    file.write_text('{"id": 1}\n')
    assert tool.main(['--compare', str(file)]) == 2
    assert f"{file}: line 1 has ['id']; expected" in capsys.readouterr().err


@pytest.mark.slow
def test_every_leaf_of_the_repository_is_dumped():
    names = tool.dump(ROOT)
    assert 'configs/llava/llava-7b-v1_caption.py' in names
    assert 'projects/llava_tiny/configs/llava-tiny_tower.py' in names
    assert not [name for name in names if '_base_' in name]
