"""A teacher that asks the reference server, without long waits."""

import pytest

from mmllava.teacher import client
from mmllava.teacher.client import Teacher
from mmllava.teacher.endpoint import Endpoint, Request
from tools.dev.teacher_server import TeacherServer

KEY = 'sk-this-must-never-be-seen-anywhere'


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(client, 'BACK_OFF_S', (0.001, 0.01))
    monkeypatch.setenv('OPENAI_API_KEY', KEY)
    for name in ('OPENAI_BASE_URL', 'TEACHER_MODEL', 'http_proxy', 'HTTP_PROXY', 'ALL_PROXY'):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def serve():
    """Starts servers, with settings as TeacherServer takes them."""
    running = []

    def start(**settings):
        settings.setdefault('retry_after_s', 0.001)
        running.append(TeacherServer(**settings).__enter__())
        return running[-1]

    yield start
    for server in running:
        server.__exit__()


@pytest.fixture
def hire(tmp_path):
    """A teacher on a server, its cache in tmp_path/cache."""

    def make(server, **settings):
        return Teacher(Endpoint(server.url, 'a-model', **settings), tmp_path / 'cache')

    return make


def ask(text='What is it?', number=0, **settings):
    """A request; ``number`` is part of its words."""
    settings = dict(max_tokens=100, temperature=0.0) | settings
    return Request(str(number), (('user', f'{text} {number}'),), **settings)
