"""Whatever ids a model gives, what is streamed is the answer, in pieces that stay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmllava.generation.decode import stream_text
from mmllava.prompts.tokenizer import LlamaTokenizer
from tests.conftest import MODELS
from tests.dialogues import texts

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
