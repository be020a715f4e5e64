"""Where the teacher is, and what it may cost: settings that work, and those that do not."""

import json

import pytest

from mmllava.errors import ConfigError, DataError
from mmllava.teacher.endpoint import Endpoint, estimate_tokens, read_endpoint

URL = 'http://localhost:8000/v1'


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(base_url='localhost:8000'), "base_url is 'localhost:8000', expected an address"),
        (dict(base_url='http://me:secret@host/v1'), 'holds a user, a password or a query'),
        (dict(base_url='http://host/v1?api-key=x'), 'holds a user, a password or a query'),
        (dict(base_url='http://host:port/v1'), "base_url is 'http://host:port/v1', expected an"),
        (dict(base_url='http://[::1/v1'), 'expected an address such as'),
        (dict(base_url='http://a b/v1'), 'expected an address such as'),
        (dict(base_url='me:secret@host/v1'), 'base_url holds a user, a password'),
        (dict(max_usd=float('nan')), 'max_usd is nan, expected more than 0'),
        (dict(usd_per_million_in=-1.0, usd_per_million_out=1.0), 'expected 0 or more'),
        (dict(usd_per_million_in=1.0), 'one price is missing: set both'),
        (dict(extra=dict(stream=True)), "extra of the teacher has 'stream', which is not free"),
        (dict(concurrency=0), 'concurrency is 0, expected more than 0'),
        (dict(timeout_s=-1.0), 'timeout_s is -1.0, expected more than 0'),
        (dict(tries='six'), "tries of the teacher is 'six', expected int"),
        (dict(concurrency=True), 'concurrency of the teacher is True, expected int'),
        (dict(max_usd=5), 'max_usd needs prices: set usd_per_million_in'),
        (dict(tokens_field='max_token'), 'Did you mean max_tokens'),
    ],
)
def test_a_setting_that_cannot_work_is_told(settings, message):
    with pytest.raises(ConfigError, match=message) as found:
        Endpoint(**(dict(base_url=URL, model='m') | settings))
    assert 'secret' not in str(found.value)


def test_the_command_line_comes_before_the_file_and_the_file_before_the_environment(
    tmp_path, monkeypatch
):
    file = tmp_path / 'teacher.json'
    file.write_text(json.dumps(dict(base_url=URL, model='of the file', tries=2)))
    monkeypatch.setenv('TEACHER_MODEL', 'of the environment')
    monkeypatch.setenv('OPENAI_BASE_URL', URL)
    assert read_endpoint(None).model == 'of the environment'
    assert read_endpoint(file, model=None).model == 'of the file'
    assert read_endpoint(file, model='given') == Endpoint(URL, 'given', tries=2)


@pytest.mark.parametrize(
    ('text', 'error', 'message'),
    [
        ('{"api_key": "sk-1"}', ConfigError, 'a key does not belong into a file'),
        ('{"modle": "m"}', ConfigError, 'Did you mean model'),
        ('[]', DataError, 'holds a list, expected the settings of a teacher'),
        ('{', DataError, 'is not JSON'),
        ('{}', ConfigError, 'no base_url of the teacher; expected --base-url'),
    ],
)
def test_a_file_that_cannot_be_used_is_told(tmp_path, monkeypatch, text, error, message):
    monkeypatch.delenv('OPENAI_BASE_URL', raising=False)
    file = tmp_path / 'teacher.json'
    file.write_text(text)
    with pytest.raises(error, match=message):
        read_endpoint(file)


@pytest.mark.parametrize(
    ('text', 'tokens'),
    [
        ('', 0),
        ('a dog', 2),
        ('doughnuts', 2),
        ('person: [0.345, 1.0]', 11),
        ('東京', 2),
    ],
)
def test_the_estimate_counts_pieces(text, tokens):
    assert estimate_tokens(text) == tokens
