"""tools/_cli.py: how every tool ends, and what --cfg-options given twice does."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmllava.errors import ConfigError, DataError
from tests.conftest import ROOT

sys.path.append(str(ROOT / 'tools'))
import _cli

SCRIPTS = sorted(
    file
    for folder in ('tools', 'demo', 'projects/llava_tiny/tools')
    for file in (ROOT / folder).rglob('*.py')
    if 'from _cli import' in file.read_text() and not file.name.startswith('_')
)
PIPE = """
import argparse, sys
sys.path.append({tools!r})
import _cli

def run(args):
    while True:
        print('x' * 1000)

sys.exit(_cli.run_tool('pipe.py', lambda argv: argparse.Namespace(), run))
"""


def end(outcome, **more):
    def run(_):
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return _cli.run_tool('tools/some_tool.py', lambda argv: argv, run, **more)


@pytest.mark.parametrize(
    ('outcome', 'status', 'last'),
    [
        (None, 0, None),
        (1, 1, None),
        (dict(a=1), 0, dict(a=1)),
        ((1, dict(a=1)), 1, dict(a=1)),
        ({}, 0, {}),
    ],
)
def test_the_object_that_a_tool_returns_is_its_last_line(outcome, status, last, capsys):
    assert end(outcome) == status
    out, err = capsys.readouterr()
    assert err == '' and ([json.loads(x) for x in out.splitlines()] or [None]) == [last]


@pytest.mark.parametrize(
    ('error', 'status', 'message'),
    [
        (DataError('a.json is no list.'), 2, 'some_tool: a.json is no list.'),
        (FileNotFoundError(2, 'No such file', 'a'), 2, 'some_tool: a: No such file. Check the'),
        (OSError('odd'), 2, 'some_tool: odd. Check the path.'),
        (_cli.Unfinished('3 of 4 missing'), 1, 'some_tool: 3 of 4 missing'),
        (KeyboardInterrupt(), 130, 'some_tool: goes on'),
        (BrokenPipeError(32, 'Broken pipe', 'socket'), 2, 'some_tool: socket: Broken pipe'),
    ],
)
def test_an_error_is_one_line_and_an_exit_status(error, status, message, capfd):
    assert end(error, stopped='goes on') == status
    out, err = capfd.readouterr()
    assert out == '' and err.startswith(message) and len(err.splitlines()) == 1


def test_a_fault_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        end(ZeroDivisionError())


def test_what_is_left_after_a_stop_can_depend_on_the_arguments(capsys):
    assert end(KeyboardInterrupt(), argv='see out', stopped=lambda args: args) == 130
    assert capsys.readouterr().err == 'some_tool: see out\n'


@pytest.mark.parametrize('flags', [[], ['-u']], ids=['buffered', 'unbuffered'])
def test_a_reader_that_goes_ends_a_tool_quietly(flags):
    code = PIPE.format(tools=str(ROOT / 'tools'))
    with subprocess.Popen(
        [sys.executable, *flags, '-c', code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b''
    assert process.returncode == 141


def test_a_terminal_without_utf_8_gets_escapes():
    code = PIPE.format(tools=str(ROOT / 'tools')).replace('while True:', '')
    code = code.replace("        print('x' * 1000)", "    print('\\u21b5')")
    environment = dict(os.environ, PYTHONPATH=str(ROOT), PYTHONIOENCODING='ascii')
    command = [sys.executable, '-c', code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, '\\u21b5\n', '')


def parse(*argv):
    parser = _cli.make_parser('')
    _cli.add_cfg_options(parser)
    return _cli.parse_cfg_options(parser.parse_args(argv).cfg_options)


def test_options_given_twice_both_count_and_of_one_key_the_later():
    found = parse('--cfg-options', 'a.b=1', 'c=x', '--cfg-options', 'a.b=[2,3]', 'd=None')
    assert found == {'a.b': [2, 3], 'c': 'x', 'd': None}
    assert parse() == {}


def test_an_option_without_a_value_is_refused(capsys):
    for wrong in ('a.b', '=3'):
        with pytest.raises(SystemExit, match='2'):
            parse('--cfg-options', wrong)
        assert f"'{wrong}' is not KEY=VALUE" in capsys.readouterr().err


def test_an_option_that_leads_through_a_number_is_refused(tmp_path):
    file = tmp_path / 'config.py'
    file.write_text('a = dict(b=1)\nc = [dict(d=1)]\n')
    cfg = _cli.read_config(str(file), ['a.e=2', 'c.0.d=3'], 'README.md')
    assert (cfg.a.b, cfg.a.e, cfg.c[0].d) == (1, 2, 3)
    with pytest.raises(ConfigError, match=r'c.7.d do not fit the config'):
        _cli.read_config(str(file), ['c.7.d=3'], 'README.md')
    with pytest.raises(ConfigError, match=r'no config file at gone.py; README.md lists ours'):
        _cli.read_config('gone.py', [], 'README.md')


def test_no_tool_parses_config_options_by_itself():
    for file in SCRIPTS:
        assert 'DictAction' not in file.read_text(), file


TAKE_OPTIONS = [f for f in SCRIPTS if 'add_cfg_options(' in f.read_text()]


def test_every_tool_with_a_config_takes_options():
    names = {file.name for file in TAKE_OPTIONS}
    assert names == {'train.py', 'test.py', 'inference.py', 'check_data.py', 'score_answers.py'}


@pytest.mark.parametrize('file', TAKE_OPTIONS, ids=lambda f: f.name)
def test_a_tool_merges_options_given_twice(file, monkeypatch):
    module = __import__('.'.join(file.relative_to(ROOT).with_suffix('').parts), fromlist=['x'])
    argv = ['x', 'y', 'z'] if file.name in ('inference.py',) else ['x', 'y']
    argv = argv[:1] if file.name in ('train.py', 'check_data.py') else argv
    args = module.parse_args([*argv, '--cfg-options', 'a=1', 'b=2', '--cfg-options', 'a=3'])
    assert _cli.parse_cfg_options(args.cfg_options) == dict(a=3, b=2)


def test_no_tool_but_the_bootstrap_ends_by_itself():
    """Errors, stops and closed pipes are handled in one place."""
    for file in SCRIPTS:
        assert not re.search(r'except KeyboardInterrupt:\n +print', file.read_text()), file


@pytest.mark.slow
@pytest.mark.parametrize('file', SCRIPTS, ids=lambda f: f.relative_to(ROOT).as_posix())
def test_a_tool_starts_as_a_script_from_anywhere(file, tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
    command = [sys.executable, str(Path(file)), '--help']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and done.stdout.startswith('usage: '), done.stderr


def test_a_test_is_named_after_its_tool():
    """tests/test_tools/test_misc/test_judge.py tests tools/misc/judge.py; a suffix may follow."""
    tools = {f.relative_to(ROOT / 'tools') for f in (ROOT / 'tools').rglob('*.py')}
    names = {f'{t.parent}/{t.stem.strip("_").replace("-", "_")}' for t in tools} | {'./commands'}
    here = ROOT / 'tests/test_tools'
    for file in (f.relative_to(here) for f in here.rglob('test_*.py')):
        name = f'{file.parent}/{file.stem}'.replace('test_', '', file.as_posix().count('/') + 1)
        assert any(name == tool or name.startswith(f'{tool}_') for tool in names), file
