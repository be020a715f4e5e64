"""Every command that a page or a docstring shows is one that its tool's parser accepts."""

import argparse
import importlib.util
import re
import shlex
import sys

import pytest

from tests.conftest import ROOT

SHOWN = sorted(
    [ROOT / 'README.md', *(ROOT / 'docs').glob('*.md'), *(ROOT / 'mmllava').rglob('*.md')]
    + [f for folder in ('tools', 'demo', 'projects', 'configs') for f in (ROOT / folder).rglob('*')
       if f.suffix in ('.md', '.py')]
)  # fmt: skip
COMMAND = re.compile(r'\bpython3? ((?:tools|demo|projects)/[\w./-]+\.py)([^`\n]*)')
READ_ARGV = ('tools/dev/make_env.py', 'demo/draw_cat_dog.py')  # themselves, without a parser
PLACEHOLDER = re.compile(r'[A-Z][A-Z0-9_]*')


def commands(text: str) -> list[tuple[str, list[str]]]:
    """(script, arguments) of each command, lines that end in a backslash joined.

    In a docstring a backslash is written twice; [--option] in a synopsis stands without brackets.
    """
    text = re.sub(r'\\{1,2}\n\s*', ' ', text)
    found = []
    for script, rest in COMMAND.findall(text):
        rest = re.split(r'\s+#|[|;&>]|\)$|,? or\b', rest)[0].replace('[', '').replace(']', '')
        rest = re.sub(r"'?\)?[.,:]?\s*$", lambda m: "'" if m[0].startswith("'") else '', rest)
        found.append((script, rest))
    return [(script, shlex.split(rest)) for script, rest in found if rest.count("'") % 2 == 0]


ALL = [
    pytest.param(script, argv, id=f'{file.relative_to(ROOT).as_posix()}-{script}')
    for file in SHOWN
    for script, argv in commands(file.read_text())
]


@pytest.fixture
def accept_placeholders(monkeypatch):
    """CHECKPOINT, N and LAYOUT stand for any value of their kind."""
    check, get = argparse.ArgumentParser._check_value, argparse.ArgumentParser._get_value

    def check_value(self, action, value):
        return PLACEHOLDER.fullmatch(str(value)) or check(self, action, value)

    def get_value(self, action, text):
        return text if PLACEHOLDER.fullmatch(text) else get(self, action, text)

    monkeypatch.setattr(argparse.ArgumentParser, '_check_value', check_value)
    monkeypatch.setattr(argparse.ArgumentParser, '_get_value', get_value)


def parser_of(script):
    sys.path.append(str(ROOT / script.rpartition('/')[0]))  # what Python does for a script
    try:
        spec = importlib.util.spec_from_file_location('shown_tool', ROOT / script)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.pop()
    return getattr(module, 'parse_args', None)


@pytest.mark.parametrize(('script', 'argv'), ALL)
def test_a_command_that_is_shown_is_accepted(script, argv, accept_placeholders, capsys):
    assert (ROOT / script).is_file()
    parse_args = parser_of(script)
    if parse_args is None:
        assert not argv or script in READ_ARGV
    elif argv and argv[0] != '...':
        try:
            parse_args(argv)
        except SystemExit:
            pytest.fail(f'{script} {argv}: {capsys.readouterr().err}')


def test_commands_are_found_and_a_wrong_option_is_refused(accept_placeholders):
    assert len(ALL) > 100
    assert {p.values[0] for p in ALL} >= {'tools/train.py', 'tools/misc/judge.py', 'demo/chat.py'}
    text = 'python tools/test.py A.py B \\\n    --amp --out x.json  # scores\n`python demo/demo.py`'
    assert commands(text) == [
        ('tools/test.py', ['A.py', 'B', '--amp', '--out', 'x.json']),
        ('demo/demo.py', []),
    ]
    with pytest.raises(SystemExit):
        parser_of('tools/test.py')(['A.py', 'B', '--no-such-option'])
