"""Ids become text piece by piece, and no piece is ever taken back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmllava.generation.stream import stream_text
from mmllava.prompts.tokenizer import LlamaTokenizer
from tests.conftest import MODELS
from tests.helpers.strategies import texts


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


STOPS = [None, '###', '<|im_end|>']


@pytest.fixture(scope='module')
def tokenizer():
    return LlamaTokenizer(MODELS / 'tokenizer', extra_tokens=('<im_start>', '<im_end>'))


def answer_of(text, stop):
    """An answer that came whole."""
    return (text.split(stop)[0] if stop else text).strip()


IDS = st.integers(0, 1001)  # bytes 3 to 258, special tokens and two added ones among them


BYTES = st.integers(3, 258)


@given(ids=st.lists(IDS | BYTES, max_size=20), stop=st.sampled_from(STOPS))
def test_pieces_joined_are_the_whole_answer(tokenizer, ids, stop):
    pieces = list(stream_text(iter(ids), tokenizer.decode, stop))
    assert ''.join(pieces) == answer_of(tokenizer.decode(ids), stop)
    assert all(pieces)


@given(text=texts(), then=texts(), stop=st.sampled_from(STOPS))
def test_what_the_tokenizer_writes_comes_back_as_far_as_the_stop(tokenizer, text, then, stop):
    ids = tokenizer.encode(text + (stop or '') + then)
    pieces = list(stream_text(iter(ids), tokenizer.decode, stop))
    assert ''.join(pieces) == answer_of(tokenizer.decode(ids), stop)
    assert stop is None or stop not in ''.join(pieces)


@given(ids=st.lists(IDS | BYTES, max_size=20), stop=st.sampled_from(STOPS), data=st.data())
def test_a_stream_that_is_cut_off_has_given_the_beginning_of_the_answer(tokenizer, ids, stop, data):
    whole = answer_of(tokenizer.decode(ids), stop)
    pieces = list(stream_text(iter(ids), tokenizer.decode, stop))
    count = data.draw(st.integers(0, len(pieces)), label='pieces')
    assert whole.startswith(''.join(pieces[:count]))
