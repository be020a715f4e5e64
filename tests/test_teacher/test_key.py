"""The key: where it comes from, and where it is never seen."""

import pytest

from mmllava.errors import ConfigError
from mmllava.teacher import client
from mmllava.teacher.client import Teacher
from mmllava.teacher.endpoint import Endpoint
from tests.test_teacher.conftest import KEY, ask
from tests.test_teacher.test_client import refusing

HERE = Endpoint('http://127.0.0.1:9/v1', 'm')


def test_a_placeholder_is_no_key_and_words_like_it_stay_as_they_are(serve, hire, monkeypatch):
    monkeypatch.setenv('OPENAI_API_KEY', 'model')  # is in the name of the model, too
    answers = hire(serve(answer=lambda _: 'A model of a train.')).ask([ask()])
    assert answers['0'].text == 'A model of a train.'


def test_no_part_of_a_key_is_told_where_a_body_is_cut(serve, hire):
    teacher = hire(serve())
    for before in range(0, 80, 3):
        with pytest.raises(client._TryAgain) as found:
            teacher._read((' ' * before + KEY).encode(), ask())
        assert 'sk-' not in str(found.value) and '[k' in str(found.value)


@pytest.mark.parametrize('key', ['sk-one sk-two', 'sk-one\nsk-two', 'sk-\u00fcber-key'])
def test_a_key_that_cannot_be_sent_is_refused_without_being_told(monkeypatch, tmp_path, key):
    monkeypatch.setenv('OPENAI_API_KEY', key)
    with pytest.raises(ConfigError, match='a letter beyond ASCII, which cannot be sent') as found:
        Teacher(HERE, tmp_path)
    assert 'sk-' not in str(found.value)


def test_a_key_in_the_place_of_its_variable_is_not_told(tmp_path):
    with pytest.raises(ConfigError, match='key-name is not the name of an env') as found:
        Teacher(HERE, tmp_path, KEY)
    assert KEY not in str(found.value)
    with pytest.raises(ConfigError, match='that --key-name names is not set. Export it'):
        Teacher(HERE, tmp_path, 'NO_SUCH_VARIABLE')


def test_a_wrong_key_is_looked_for_in_the_variable_that_was_named(serve, monkeypatch, tmp_path):
    monkeypatch.setenv('MY_KEY', KEY)
    teacher = Teacher(Endpoint(refusing(serve(), 401, 'no').url, 'm'), tmp_path, 'MY_KEY')
    teacher.ask([ask()])
    assert 'Is the key in MY_KEY right' in teacher.stopped
