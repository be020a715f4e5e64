"""Asking: what is tried again, what ends a run, what is never paid twice and never told."""

import email.utils
import json
import logging
import os
import signal
import time
import traceback

import pytest

from mmllava.errors import ConfigError
from mmllava.teacher import client
from mmllava.teacher.cache import Answer
from mmllava.teacher.client import Teacher
from mmllava.teacher.endpoint import Endpoint, Request
from tests.test_teacher.conftest import KEY, ask
from tools.dev import teacher_server


def refusing(server, status, message, code=None, headers=None):
    """The server, made to refuse everything."""

    class Refusing(teacher_server._Handler):
        def do_POST(self):
            self.rfile.read(int(self.headers['content-length']))
            told = message.replace('KEY', self.headers['authorization'])
            self._send(status, dict(error=dict(message=told, code=code)), headers)

    server.RequestHandlerClass = Refusing
    return server


def test_an_answer_has_the_words_the_name_and_the_tokens_of_the_server(serve, hire):
    teacher = hire(serve(answer=lambda messages: messages[-1]['content'].upper()))
    answers = teacher.ask([ask('Is it red?')])
    assert answers == {'0': Answer('IS IT RED? 0', 'stop', 'reference-1', 4, 4)}
    assert teacher.models == {'reference-1': 1}
    assert (teacher.budget.spent.tokens_in, teacher.budget.spent.tokens_out) == (4, 4)


def test_what_is_sent_is_what_the_request_and_the_endpoint_say(serve, hire):
    server = serve(keep=True)
    teacher = hire(server, tokens_field='max_completion_tokens', extra=dict(reasoning_effort='low'))
    teacher.ask(
        [
            Request(
                'x',
                (
                    ('system', 'Be kind.'),
                    ('user', 'Hello'),
                ),
                7,
                None,
            )
        ]
    )
    assert server.seen == [
        dict(
            model='a-model',
            messages=[
                dict(role='system', content='Be kind.'),
                dict(role='user', content='Hello'),
            ],
            max_completion_tokens=7,
            reasoning_effort='low',
        )
    ]


@pytest.mark.parametrize('change', [dict(temperature=0.5), dict(max_tokens=9), dict(attempt=1)])
def test_the_same_request_is_sent_once_and_another_is_sent(serve, hire, change):
    server = serve()
    teacher = hire(server)
    first = teacher.ask([ask()])
    assert hire(server).ask([ask()]) == first
    assert server.stats()['answered'] == 1
    hire(server).ask([ask(**change)])
    assert server.stats()['answered'] == 2


def test_the_same_request_twice_at_a_time_is_sent_once(serve, hire):
    server = serve(delay_s=0.05)
    teacher = hire(server)
    same = Request('other', ask().messages, 100, 0.0)
    answers = teacher.ask([ask(), same])
    assert answers['0'] == answers['other']
    assert server.stats()['answered'] == 1
    assert teacher.counts == dict(sent=1, answered=1, cached=1)


def test_another_model_or_address_is_another_request():
    here = Endpoint('http://a/v1', 'm')
    assert ask().key(here) == ask().key(Endpoint('http://a/v1/', 'm'))
    for other in (
        Endpoint('http://b/v1', 'm'),
        Endpoint('http://a/v1', 'n'),
        Endpoint('http://a/v1', 'm', extra=dict(top_p=0.5)),
    ):
        assert ask().key(other) != ask().key(here)


def test_a_damaged_cache_file_is_asked_for_again(serve, hire, tmp_path):
    server = serve()
    first = hire(server).ask([ask()])
    (file,) = (tmp_path / 'cache').rglob('*.json')
    file.write_text(file.read_text()[:50])
    assert hire(server).ask([ask()]) == first
    assert json.loads(file.read_text())['answer']['text'] == first['0'].text


@pytest.mark.parametrize(
    'faults',
    [
        {'429': 0.5},
        {'500': 0.5},
        {'cut': 0.5},
        {'garbage': 0.5},
        pytest.param({'429': 0.2, '500': 0.2, 'cut': 0.2, 'garbage': 0.2}, marks=pytest.mark.slow),
        pytest.param({'slow': 0.3}, marks=pytest.mark.slow),
        pytest.param(
            {'429': 0.15, '500': 0.1, 'cut': 0.1, 'garbage': 0.1, 'slow': 0.1},
            marks=pytest.mark.slow,
        ),
    ],
    ids='-'.join,
)
def test_with_any_mix_of_faults_everything_is_answered_once(serve, hire, faults):
    server = serve(faults=faults, slow_s=10)
    timeout_s = 2.0 if 'slow' in faults else 60.0  # busy machines are slow by themselves
    answers = hire(server, timeout_s=timeout_s, tries=30).ask(ask(number=n) for n in range(16))
    assert len(answers) == 16
    assert all(isinstance(answer, Answer) for answer in answers.values())
    stats = server.stats()
    assert set(stats['faults']) == set(faults)
    assert (stats['answered'], stats['repeated']) == (16, 0)


@pytest.mark.parametrize(
    ('fault', 'kind', 'message', 'unsure'),
    [
        ('429', 'busy', 'status 429: ', 0),
        ('500', 'server', 'status 500: ', 0),
        ('cut', 'connection', 'failed (RemoteProtocolError)', 3),
        ('garbage', 'garbage', "not that of a chat completion: '<html>{", 3),
        ('slow', 'timeout', 'no answer within 0.1 s (timeout_s)', 3),
    ],
)
def test_a_fault_that_does_not_end_is_told_and_not_cached(
    serve, hire, tmp_path, fault, kind, message, unsure
):
    timeout_s = 0.1 if fault == 'slow' else 60
    teacher = hire(serve(faults={fault: 1.0}, slow_s=0.5), timeout_s=timeout_s, tries=3)
    failure = teacher.ask([ask()])['0']
    assert failure.kind == kind and message in failure.message
    assert teacher.counts == {'sent': 3, kind: 3, 'failed': 1}
    assert teacher.budget.spent.unsure == unsure  # may have been billed: counted at the most
    assert not list((tmp_path / 'cache').rglob('*.json'))


@pytest.mark.parametrize(
    ('status', 'code', 'message'),
    [
        (401, None, 'Is the key in OPENAI_API_KEY right for this address?'),
        (403, None, 'May the key in OPENAI_API_KEY use this model?'),
        (404, None, 'Check base_url (it often ends in /v1) and model.'),
        (429, 'insufficient_quota', 'The account has no credit left.'),
    ],
)
def test_an_endpoint_that_cannot_serve_us_ends_the_run_at_once(serve, hire, status, code, message):
    teacher = hire(refusing(serve(), status, 'no', code), concurrency=1)
    assert teacher.ask(ask(number=n) for n in range(9)) == {}
    assert message in teacher.stopped
    assert teacher.counts == dict(sent=1)


def test_a_request_that_is_refused_is_not_tried_again_and_the_others_go_on(serve, hire):
    teacher = hire(refusing(serve(), 400, 'too long'))
    answers = teacher.ask(ask(number=n) for n in range(3))
    assert {answer.kind for answer in answers.values()} == {'refused'}
    assert teacher.counts == dict(sent=3, refused=3, failed=3)


def test_an_endpoint_that_is_down_ends_the_run_after_a_while(tmp_path):
    teacher = Teacher(Endpoint('http://127.0.0.1:9/v1', 'm', tries=1), tmp_path)
    answers = teacher.ask(ask(number=n) for n in range(200))
    assert len(answers) < 60  # 20, and what was under way
    assert '20 requests in a row had no answer, the last: the connection' in teacher.stopped
    assert teacher.budget.spent.unsure == 0


def in_a_while():
    """A date; the tests are collected long before this one runs."""
    return email.utils.formatdate(time.time() + 500, usegmt=True)


@pytest.mark.parametrize(
    ('headers', 'least', 'most'),
    [
        ({'Retry-After': '7'}, 7, 7),
        ({'retry-after-ms': '250'}, 0.25, 0.25),
        ({'Retry-After': in_a_while()}, 100, 501),
        ({'Retry-After': 'soon'}, 0, 0.01),
        ({}, 0, 0.01),
    ],
)
def test_the_wait_is_what_the_server_asks_for(serve, hire, monkeypatch, headers, least, most):
    waits = []

    async def wait_for(something, seconds):
        if seconds == 120:  # a request
            return await something
        waits.append(seconds)
        something.close()
        raise TimeoutError

    monkeypatch.setattr(client.asyncio, 'wait_for', wait_for)
    monkeypatch.setattr(client.asyncio, 'TimeoutError', TimeoutError)
    hire(refusing(serve(), 429, 'wait', headers=headers), tries=2).ask([ask()])
    assert len(waits) == 1 and least <= waits[0] <= most


def test_a_server_that_asks_to_wait_for_hours_ends_the_run(serve, hire):
    teacher = hire(refusing(serve(), 429, 'wait', headers={'Retry-After': '7200'}))
    assert teacher.ask([ask()]) == {}
    assert 'asks to wait 7200 s' in teacher.stopped


def test_the_token_budget_holds_at_any_concurrency_and_what_was_answered_is_kept(serve, hire):
    server = serve(delay_s=0.01)
    teacher = hire(server, concurrency=8, max_total_tokens=1000)
    answers = teacher.ask(ask(number=n) for n in range(100))
    spent = teacher.budget.spent
    assert 5 < len(answers) < 100
    assert 800 < spent.tokens_in + spent.tokens_out <= 1000
    assert 'the budget is reached' in teacher.stopped and 'of 1,000 tokens' in teacher.stopped
    assert server.stats()['answered'] == len(answers)
    again = hire(server).ask(ask(number=n) for n in range(100))
    assert again.items() >= answers.items() and len(again) == 100
    assert server.stats()['repeated'] == 0


def test_the_money_budget_counts_both_prices(serve, hire):
    prices = dict(usd_per_million_in=1000.0, usd_per_million_out=2000.0)
    teacher = hire(serve(answer=lambda _: 'a b c'), concurrency=1, max_usd=1.0, **prices)
    answers = teacher.ask(ask(number=n) for n in range(100))
    # 4 in and 3 out cost 0.010; the next may cost 0.2 + 0.009 for about 9 in, 100 out
    assert len(answers) == 80
    assert teacher.budget.spent.usd == pytest.approx(0.8)
    assert '0.8000 of 1.0000 USD are spent' in teacher.stopped


def test_what_a_setting_lets_come_out_counts_against_the_budget(serve, hire):
    teacher = hire(serve(), extra=dict(max_tokens=5000), max_total_tokens=1000)
    assert teacher.ask([ask()]) == {} and teacher.counts == {}
    assert 'the next request may take 5,0' in teacher.stopped


def test_a_cache_that_cannot_be_written_is_found_before_anything_is_paid(serve, hire, tmp_path):
    server = serve()
    (tmp_path / 'cache').write_text('a file')
    with pytest.raises(OSError, match='cache'):
        hire(server).ask([ask()])
    assert server.stats()['received'] == 0


def test_where_the_disk_fails_what_is_under_way_is_waited_for_and_kept(serve, hire, monkeypatch):
    server = serve(delay_s=0.05)
    teacher = hire(server, concurrency=4)
    put, failed = teacher.cache.put, []

    def put_unless_full(key, body, answer):
        if not failed:
            failed.append(key)
            raise OSError(28, 'No space left on device')
        put(key, body, answer)

    monkeypatch.setattr(teacher.cache, 'put', put_unless_full)
    with pytest.raises(OSError, match='No space'):
        teacher.ask(ask(number=n) for n in range(40))
    answered = server.stats()['answered']
    assert len(list(teacher.cache.folder.rglob('*.json'))) == answered - 1
    assert answered < 40


def test_a_signal_waits_for_what_is_under_way_and_keeps_it(serve, hire):
    heard = []

    def answer(messages):
        heard.append(messages)
        if len(heard) == 6:  # the handlers stand: requests are under way
            os.kill(os.getpid(), signal.SIGTERM)
        return 'Yes.'

    server = serve(delay_s=0.05, answer=answer)
    teacher = hire(server, concurrency=4)
    answers = teacher.ask(ask(number=n) for n in range(1000))
    assert 4 <= len(answers) < 1000
    assert 'stopped by a signal' in teacher.stopped
    assert server.stats()['answered'] == len(answers) == server.stats()['received']
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_the_key_is_in_no_log_cache_exception_or_report(serve, hire, tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    told = []
    teacher = hire(serve(answer=lambda _: f'the key is {KEY}'))
    told.append(teacher.ask([ask()]))
    assert told[0]['0'].text == 'the key is [key]'
    for status in (400, 401, 500):
        teacher = hire(refusing(serve(), status, 'wrong: KEY'), tries=2)
        told += [teacher.ask([ask()]), teacher.stopped, teacher.counts, vars(teacher.endpoint)]
    for content in (f'{{"{KEY}'.encode(), json.dumps(dict(choices=[KEY])).encode()):
        try:
            teacher._read(content, ask())
        except Exception as error:
            told += [''.join(traceback.format_exception(error))]
    files = ''.join(f.read_text() for f in tmp_path.rglob('*') if f.is_file())
    seen = ''.join(capfd.readouterr()) + caplog.text + files + repr(told)
    assert '[key]' in files and 'wrong: Bearer [key]' in repr(told)
    assert KEY not in seen


def test_a_key_in_a_setting_is_refused(tmp_path):
    with pytest.raises(ConfigError, match='a setting of the teacher holds the key of OPENAI_'):
        Teacher(Endpoint(f'http://a/{KEY}/v1', 'm'), tmp_path)


def test_without_openai_it_says_what_to_install(serve, hire, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'openai', None)
    with pytest.raises(ConfigError, match="Run pip install 'mmllava\\[teacher\\]'"):
        hire(serve())


@pytest.mark.parametrize(
    'body',
    [
        b'',
        b'[]',
        b'{"choices": []}',
        b'{"choices": [{"message": {"content": 5}}]}',
        b'{"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": "y"}}',
    ],
)
def test_a_body_that_is_no_answer_is_garbage(serve, hire, body):
    with pytest.raises(client._TryAgain, match='not that of a chat completion'):
        hire(serve())._read(body, ask())


def test_an_answer_without_counts_is_counted_by_its_length(serve, hire):
    body = json.dumps(dict(choices=[dict(message=dict(content='It is a dog.'))])).encode()
    answer = hire(serve())._read(body, ask())
    assert (answer.tokens_in, answer.tokens_out) == (ask().tokens(), 9)
    assert answer.model == 'a-model'
