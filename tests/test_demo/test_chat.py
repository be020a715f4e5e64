"""The terminal chat, typed at."""

import json

import pytest

from demo import chat
from mmllava.apis.load import WEIGHTS
from tests.conftest import MODELS, ROOT

CONFIG = str(ROOT / 'demo/llava-random_caption.py')


def talk(monkeypatch, merged, lines, *pictures):
    typed = iter(lines)

    def read(_):
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr('builtins.input', read)
    monkeypatch.setattr(chat.talk, '__defaults__', (read,))
    args = ['--device', 'cpu', '--temperature', '0', '--max-new-tokens', '8']
    return chat.main([CONFIG, str(merged), *map(str, pictures), *args])


def test_a_dialogue_is_streamed_saved_and_begun_anew(monkeypatch, merged, tmp_path, capsys):
    file, other = tmp_path / 'talk.json', MODELS / 'images/1.png'
    lines = ['What is it?', f'/image {other}', 'And this?', f'/save {file}', '/reset', 'Hello?', '']
    assert talk(monkeypatch, merged, lines, MODELS / 'images/0.png') == 0
    said = capsys.readouterr().out
    saved = json.loads(file.read_text())
    assert len(saved['conversations']) == 4 and len(saved['images']) == 2
    assert saved['conversations'][1]['value'] in said and f'wrote {file}' in said


def test_a_slip_is_answered_and_the_dialogue_goes_on(monkeypatch, merged, capsys):
    lines = ['/image gone.png', '/imgae x', '<image> what?', 'Hello?']
    assert talk(monkeypatch, merged, lines) == 0
    said = capsys.readouterr()
    assert 'no image at gone.png' in said.err and 'but 0 images were given' in said.err
    assert '/imgae is not one of /image PATH, /reset, /save FILE' in said.out
    assert said.out.splitlines()[-1]  # the answer


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        ((CONFIG, 'x', 'gone.png'), 'no image at gone.png'),
        ((CONFIG, './gone', '--device', 'cpu'), 'gone does not exist'),
    ],
)
def test_bad_input_exits_with_2(args, message, capsys):
    assert chat.main(list(args)) == 2
    assert message in capsys.readouterr().err


def test_a_folder_or_tiny_needs_no_config(monkeypatch, capsys):
    for model in ('tiny', str(WEIGHTS)):
        lines = iter(['What color is the cat?', ''])
        monkeypatch.setattr(chat.talk, '__defaults__', (lambda _, lines=lines: next(lines),))
        args = [model, str(ROOT / 'demo/cat-dog.png'), '--device', 'cpu', '--temperature', '0']
        assert chat.main(args) == 0
        assert 'orange' in capsys.readouterr().out


def test_a_base_without_a_config_is_refused(capsys):
    assert chat.main(['tiny', '--base', 'x', '--device', 'cpu']) == 2
    assert '--base goes with a config and a CHECKPOINT' in capsys.readouterr().err
