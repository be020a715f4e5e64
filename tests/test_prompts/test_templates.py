"""Every prompt is the original's, letter by letter."""

import pytest

from mmllava.errors import ConfigError, PromptError
from mmllava.prompts.templates import TEMPLATES, get_template, render
from mmllava.structures import Turn


def turns_of(dialog):
    return [t for q, a in dialog for t in (Turn('user', q), Turn('assistant', a))]


def text(name, turns):
    return ''.join(segment.text for segment in render(get_template(name), turns))


def test_every_recorded_template_is_there(golden):
    assert set(golden['conversations']) <= set(TEMPLATES)


@pytest.mark.parametrize('name', sorted(TEMPLATES))
def test_prompts_are_the_recorded_ones(golden, name):
    recorded = golden['conversations'][name]['prompts']
    compared = 0
    for dialog, expected in zip(golden['dialogs'], recorded, strict=True):
        if not expected.startswith('ERROR'):  # what the original cannot render
            assert text(name, turns_of(dialog)) == expected
            compared += 1
    assert compared >= (1 if name.endswith('plain') else len(recorded))


def test_only_answers_and_their_end_are_learned():
    turns = turns_of([('Who?', 'Me.'), ('Why?', 'Well.')])
    learned = [s.text for s in render(get_template('vicuna_v1'), turns) if s.learn]
    assert learned == [' Me.</s>', ' Well.</s>']


def test_an_unknown_template_is_answered_with_the_close_ones():
    with pytest.raises(ConfigError, match=r"unknown template 'vicunna_v1'. Did you mean vicuna_v1"):
        get_template('vicunna_v1')


@pytest.mark.parametrize(
    ('turns', 'message'),
    [
        ([], 'needs at least one turn, got none'),
        ([Turn('assistant', 'Hi')], "turn 0 is by 'assistant', expected 'user'"),
        ([Turn('user', 'a'), Turn('user', 'b')], "turn 1 is by 'user', expected 'assistant'"),
        (turns_of([('a', None), ('b', None)]), 'turn 1 has no text; only the last answer'),
    ],
)
def test_a_conversation_that_cannot_be_written_says_why(turns, message):
    with pytest.raises(PromptError, match=message):
        render(get_template('vicuna_v1'), turns)


def test_plain_refuses_a_conversation():
    with pytest.raises(PromptError, match='one picture and its caption, got 4 turns'):
        text('plain', turns_of([('a', 'b'), ('c', 'd')]))
