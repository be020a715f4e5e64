"""tools/dev/teacher_server.py: the same answers and the same faults each time."""

import argparse
import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.test_teacher.conftest import ask, hire, serve, short_waits  # noqa: F401
from tools.dev import teacher_server as tool

ROOT = Path(__file__).parents[3]


def test_the_same_request_meets_the_same_fates(serve):  # noqa: F811
    fates = []
    for seed in (0, 0, 1):
        server = serve(faults={'429': 0.3, 'cut': 0.3}, seed=seed)
        fates.append([server.fate(str(n % 5)) for n in range(50)])
    assert fates[0] == fates[1] != fates[2]
    assert set(fates[0]) == {'429', 'cut', ''}


def test_answers_have_the_shape_that_was_asked_for():
    shots = [dict(role='assistant', content='Question:\nA\n===\nAnswer:\nB')]
    asked = dict(role='user', content='A red cat (A) here (B) there')
    assert tool.reply([*shots, asked]).count('Question:') == 1
    assert tool.reply([asked]).startswith('The picture shows')
    shots = [dict(role='assistant', content='So. The answer is A.')]
    assert tool.reply([*shots, asked]) in ('The answer is A.', 'The answer is B.')
    asked['content'] += '[End of Assistant 2]'
    first, second = tool.reply([asked]).split('\n')[0].split()
    assert 5 <= int(first) <= 9 and 5 <= int(second) <= 9


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('430=0.1', 'expected NAME=SHARE'),
        ('429', 'SHARE from 0'),
        ('429=0.6,cut=0.6', 'more than 1'),
    ],
)
def test_faults_that_cannot_be_are_refused(text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        tool.parse_faults(text)


def test_what_it_does_not_understand_is_refused(serve, hire):  # noqa: F811
    server = serve()
    server.url_of = server.url.removesuffix('/v1')
    hire_elsewhere = hire(argparse.Namespace(url=f'{server.url_of}/v2'))
    assert hire_elsewhere.ask([ask()]) == {}
    assert 'nothing at /v2/chat/completions; expected /v1' in hire_elsewhere.stopped
    with urllib.request.urlopen(f'{server.url}/models') as answer:
        assert json.load(answer)['data'][0]['id'] == 'reference-1'


@pytest.mark.slow
def test_as_a_process_it_names_its_address_and_counts_at_the_end(hire):  # noqa: F811
    command = [sys.executable, str(ROOT / 'tools/dev/teacher_server.py')]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().split()[-1]
        assert len(hire(argparse.Namespace(url=url)).ask(ask(number=n) for n in range(3))) == 3
        process.terminate()
        assert json.loads(process.communicate(timeout=30)[0])['answered'] == 3
    assert process.returncode == 0
