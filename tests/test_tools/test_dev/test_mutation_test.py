"""tools/dev/mutation_test.py: what it calls killed a test has failed on, and nothing else is."""

import json

import pytest

from tests.conftest import ROOT

#: named in the promise that the tests notice when one of them is broken
PROMISED = [
    'layer -2',
    'BOS',
    'pad colour',
    'newline position',
    'left padding',
    'label offset',
]


@pytest.fixture
def mutate(monkeypatch):
    """The tool, found as its own folder finds it."""
    monkeypatch.syspath_prepend(str(ROOT / 'tools/dev'))
    import mutation_test as mutate

    return mutate


@pytest.fixture
def tree(tmp_path):
    """A package of one line, with a test of it and one that sees nothing."""
    root = tmp_path / 'tree'
    (root / 'mmllava').mkdir(parents=True)
    (root / 'tests').mkdir()
    (root / 'mmllava/__init__.py').write_text('')
    (root / 'mmllava/add.py').write_text('def add(a, b):\n    return a + b\n')
    (root / 'tests/test_add.py').write_text(
        'from mmllava.add import add\n\n\ndef test_sum():\n    assert add(1, 2) == 3\n'
    )
    (root / 'tests/test_blind.py').write_text('def test_nothing():\n    pass\n')
    return root


def run(mutate, tree, capsys, *mutants, args=()):
    """Exit status, last line and errors of a run on a tree; the tree must stay as it is."""
    before = {p: p.read_bytes() for p in tree.rglob('*') if p.is_file()}
    made = [mutate.Mutant(name, 'mmllava/add.py', *rest) for name, *rest in mutants]
    status = mutate.main([*map(str, args)], tree, made)
    assert before == {p: p.read_bytes() for p in tree.rglob('*') if p.is_file()}
    out, err = capsys.readouterr()
    return status, json.loads(out.splitlines()[-1]) if status != 2 else None, err


MINUS = ('minus', 'a + b', 'a - b', ('tests/test_add.py',))
BLIND = ('blind', 'a + b', 'a - b', ('tests/test_blind.py',))


def test_every_mutant_has_its_text_once_and_tests_that_are_there(mutate):
    assert not mutate.faults(ROOT, mutate.MUTANTS)
    assert set(PROMISED) <= {mutant.name for mutant in mutate.MUTANTS}
    assert all((ROOT / test).exists() for mutant in mutate.MUTANTS for test in mutant.tests)


@pytest.mark.slow
def test_killed_is_what_a_test_fails_on_and_neither_what_none_sees_nor_what_cannot_run(
    mutate, tree, capsys, tmp_path
):
    rows, torn = tmp_path / 'rows.jsonl', ('torn', 'a + b', 'a +', MINUS[3])
    status, said, _ = run(mutate, tree, capsys, MINUS, BLIND, torn, args=['--rows', rows])
    assert (status, said) == (1, dict(mutants=3, killed=1, not_killed=['blind', 'torn']))
    minus, blind, torn = map(json.loads, rows.read_text().splitlines())
    assert (minus['result'], minus['by']) == ('killed', 'tests/test_add.py::test_sum')
    assert (blind['result'], torn['result']) == ('lives', 'broken')


@pytest.mark.parametrize(
    ('mutants', 'message'),
    [
        ([('gone', 'a * b', 'a', MINUS[3])], "gone: 'a * b' is 0 times in mmllava/add.py"),
        ([('twice', 'b', 'a', MINUS[3])], "twice: 'b' is 2 times in mmllava/add.py, expected once"),
        ([('same', 'a + b', 'a + b', MINUS[3])], 'is replaced by itself'),
        ([MINUS, MINUS], 'minus: the name is there twice'),
    ],
)
def test_a_table_that_does_not_fit_the_code_is_refused(mutate, tree, capsys, mutants, message):
    status, _, err = run(mutate, tree, capsys, *mutants)
    assert status == 2 and message in err


@pytest.mark.slow
def test_tests_that_fail_before_anything_is_broken_are_refused(mutate, tree, capsys):
    (tree / 'tests/test_add.py').write_text('def test_wrong():\n    assert False\n')
    status, _, err = run(mutate, tree, capsys, MINUS)
    assert status == 2 and 'must pass before anything is broken, and tests/test_add.py' in err


def test_a_name_that_is_not_in_the_table_is_refused(mutate, tree, capsys):
    status, _, err = run(mutate, tree, capsys, MINUS, args=['--only', 'plus'])
    assert status == 2 and 'no mutant is called plus. Known: minus.' in err


@pytest.mark.slow
def test_what_is_promised_is_noticed_when_it_breaks(mutate, capsys):
    """The whole table takes minutes: python tools/dev/mutation_test.py."""
    assert mutate.main(['--only', *PROMISED]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])['killed'] == len(PROMISED)
