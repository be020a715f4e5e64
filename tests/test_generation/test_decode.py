"""Ids become text piece by piece, and no piece is ever taken back."""

import pytest

from mmllava.generation.decode import stream_text


def stream(parts, stop=None):
    """Streams words that a toy tokenizer joins; an id is a place in ``parts``."""
    return list(
        stream_text(iter(range(len(parts))), lambda ids: ''.join(parts[i] for i in ids), stop)
    )


def test_pieces_join_to_the_stripped_text():
    assert ''.join(stream([' a', ' cat', ' ', '\n'])) == 'a cat'


def test_half_a_character_is_held_back():
    texts = {1: 'a\ufffd', 2: 'a\ufffd', 3: 'aé', 4: 'aé!'}
    pieces = list(stream_text(iter(range(4)), lambda ids: texts[len(ids)], None))
    assert pieces == ['a', 'é', '!']


def test_what_may_begin_the_stop_text_is_held_back_and_never_given():
    assert stream(['A cat', '.', '#', '#', '#', ' Human: x'], '###') == ['A cat', '.']
    assert stream(['a', '#', '1'], '###') == ['a', '#1']


def test_text_after_the_stop_within_one_token_is_cut():
    assert ''.join(stream(['yes ###Human'], '###')) == 'yes'


def test_the_model_is_not_asked_for_more_after_the_stop():
    asked = []

    def ids():
        for k in range(10):
            asked.append(k)
            yield k

    parts = ['a', '###'] + ['x'] * 8
    assert list(stream_text(ids(), lambda i: ''.join(parts[k] for k in i), '###')) == ['a']
    assert asked == [0, 1]


@pytest.mark.parametrize('stop', [None, '###'])
def test_no_ids_give_no_pieces(stop):
    assert stream([], stop) == []
