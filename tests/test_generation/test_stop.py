"""What ends an answer besides the end of text: ``<|im_end|>`` for the 34B, ``###`` for v0."""

import pytest
import torch

from mmllava.generation.stop import StopRule
from mmllava.generation.stream import stream_ids
from mmllava.models.language import LanguageModel
from tests.test_generation.conftest import Tokenizer, until_end


class Special:
    """Ids without text, one of them the stop; 19 ends a text and never comes."""

    bos_id, eos_id, pad_id = 1, 19, 0

    def __init__(self, stop):
        self.stop = stop

    def find(self, word):
        return self.stop

    def decode(self, ids):
        return ''  # special, so that only its id can tell


@pytest.fixture(scope='module')
def case():
    """A model, a prompt, and its greedy answer where nothing stops it."""
    torch.manual_seed(2)
    language = LanguageModel(
        vocab_size=20,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
    ).eval()
    for parameter in language.lm.parameters():
        torch.nn.init.normal_(parameter, std=0.6)
    with torch.no_grad():
        language.lm.lm_head.weight[19] = 0
    embeds = torch.randn(1, 5, 16)
    free = list(stream_ids(language, embeds, language.new_cache(), Special(None), SETTINGS))
    return language, embeds, free


SETTINGS = dict(max_new_tokens=10, do_sample=False)


LOOPS = {
    'steps': lambda lm, e, t: lm.generate(e, torch.ones(1, 5).long(), t, SETTINGS, '<stop>')[0],
    'transformers': lambda lm, e, t: lm.generate_by_transformers(
        e, torch.ones(1, 5).long(), t, SETTINGS, '<stop>'
    )[0],
    'beams': lambda lm, e, t: lm.generate(
        e, torch.ones(1, 5).long(), t, dict(SETTINGS, num_beams=2), '<stop>'
    )[0],
}


@pytest.mark.parametrize('loop', ['steps', 'transformers'])
def test_the_token_is_the_last_of_an_answer(case, loop):
    language, embeds, free = case
    assert len(free) == 10
    stop = next(i for i in free[2:] if i not in free[:2])  # it comes after a few others
    assert LOOPS[loop](language, embeds, Special(stop)) == free[: free.index(stop) + 1]


def test_a_stream_ends_before_it(case):
    language, embeds, free = case
    stop = next(i for i in free[2:] if i not in free[:2])
    given = stream_ids(
        language, embeds, language.new_cache(), Special(stop), SETTINGS, stop='<stop>'
    )
    assert list(given) == free[: free.index(stop)]


def test_beams_end_with_it_too(case):
    language, embeds, _ = case
    never = LOOPS['beams'](language, embeds, Special(None))
    stop = next(i for i in never[2:] if i not in never[:2])
    ids = LOOPS['beams'](language, embeds, Special(stop))
    assert stop not in ids[:-1]


def test_a_text_that_ends_an_answer_ends_its_row_only(language, batch):
    settings = dict(do_sample=False, max_new_tokens=20)
    free = language.generate(batch.embeds, batch.mask, Tokenizer(), settings)
    longest = max(free, key=len)
    stop = Tokenizer().decode(longest[3:5])
    ours = language.generate(batch.embeds, batch.mask, Tokenizer(), settings, stop)
    theirs = language.generate_by_transformers(
        batch.embeds, batch.mask, Tokenizer(), settings, stop
    )
    assert until_end(ours, stop) == until_end(theirs, stop) == until_end(free, stop)
    assert sum(map(len, ours)) < sum(map(len, free))


def test_an_end_mark_that_is_one_token_ends_an_answer_beside_the_end_of_text(language, batch):
    """34B: ``<|im_end|>`` ends an answer, and is not its tokenizer's end-of-text."""

    class Marked(Tokenizer):
        def find(self, word):
            return {'<|im_end|>': 5}.get(word)

    settings = dict(do_sample=False, max_new_tokens=20)
    arguments = (batch.embeds, batch.mask, Marked(), settings, '<|im_end|>')
    free = language.generate(*arguments[:-1])
    assert any(5 in ids[:-1] for ids in free)
    for ids, whole in zip(language.generate(*arguments), free, strict=True):
        assert ids == whole[: whole.index(5) + 1 if 5 in whole else None]
    theirs = language.generate_by_transformers(*arguments)
    for ids, ours in zip(theirs, language.generate(*arguments), strict=True):
        assert ids[: len(ours)] == ours
    streamed = stream_ids(
        language, batch.embeds[1:2], language.new_cache(), Marked(), settings, stop='<|im_end|>'
    )
    assert list(streamed) == [i for i in language.generate(*arguments)[1] if i not in (5, 7)]


def test_a_stop_text_of_several_tokens_is_looked_for_in_the_text():
    rule = StopRule(Tokenizer(), '<5><6>')
    assert [rule.ends(ids) for ids in ([5], [5, 6], [7], [6, 5])] == [False, True, True, False]
