"""Our loop gives what transformers' loop gives, entry by entry and draw by draw."""

import pytest
import torch

from mmllava.generation.config import generation_config
from mmllava.generation.loop import decode, decode_batch
from mmllava.generation.stop import StopRule
from tests.test_generation.conftest import LENGTHS, Tokenizer, until_end

SETTINGS = [
    dict(do_sample=False),
    dict(do_sample=True),
    dict(do_sample=True, temperature=0.3),
    dict(do_sample=True, top_k=3, top_p=0.8, temperature=1.5),
]


@pytest.mark.parametrize('settings', SETTINGS, ids=str)
def test_a_padded_batch_is_continued_as_transformers_continues_it(language, batch, settings):
    arguments = (batch.embeds, batch.mask, Tokenizer(), dict(settings, max_new_tokens=20))
    torch.manual_seed(1)
    ours = language.generate(*arguments)
    torch.manual_seed(1)
    theirs = language.generate_by_transformers(*arguments)
    assert until_end(ours) == until_end(theirs)
    assert len({tuple(ids) for ids in ours}) > 1  # the rows say something of their own


@pytest.mark.parametrize('sample', [False, True], ids=['greedy', 'sampled'])
def test_repeated_words_are_punished_as_transformers_punishes_them(language, batch, sample):
    settings = dict(do_sample=sample, repetition_penalty=1.7, max_new_tokens=20)
    arguments = (batch.embeds[1:2], batch.mask[1:2], Tokenizer(), settings)
    torch.manual_seed(1)
    ours = language.generate(*arguments)
    torch.manual_seed(1)
    assert until_end(ours) == until_end(language.generate_by_transformers(*arguments))


@pytest.mark.parametrize('beams', [1, 2])
@pytest.mark.parametrize('penalty', [1.0, 1.7])
def test_a_row_of_a_batch_is_the_row_alone(language, batch, beams, penalty):
    settings = dict(num_beams=beams, repetition_penalty=penalty, max_new_tokens=20)
    settings['do_sample'] = False
    together = language.generate(batch.embeds, batch.mask, Tokenizer(), settings)
    for row, length in enumerate(LENGTHS):
        embeds = batch.embeds[row : row + 1, -length:]
        alone = language.generate(embeds, torch.ones(1, length).long(), Tokenizer(), settings)
        assert until_end(alone) == until_end([together[row]])


def test_each_row_has_the_room_that_the_context_leaves_it(language, batch):
    settings = dict(do_sample=False, max_new_tokens=1000)

    class Endless(Tokenizer):
        eos_id = -1

    answers = language.generate(batch.embeds, batch.mask, Endless(), settings)
    assert [len(ids) for ids in answers] == [64 - length for length in LENGTHS]


@pytest.mark.parametrize('settings', [dict(num_beams=3), dict(min_new_tokens=4)], ids=str)
def test_what_our_loop_does_not_know_goes_to_transformers(language, batch, settings, monkeypatch):
    monkeypatch.setattr('mmllava.models.language.decode_batch', None)
    settings = dict(settings, do_sample=False, max_new_tokens=6)
    arguments = (batch.embeds, batch.mask, Tokenizer(), settings)
    assert language.generate(*arguments) == language.generate_by_transformers(*arguments)


class Counter:
    """Embeds an id as itself and expects its successor; the cache lists what was fed."""

    def embed(self, ids):
        return ids[..., None].float()

    def extend(self, embeds, cache, mask=None):
        cache.append(embeds[..., 0].tolist())
        return torch.nn.functional.one_hot(embeds[:, -1, 0].long() + 1, 12).float()


def test_the_loop_needs_nothing_but_embed_and_extend():
    config, prompts = generation_config({}, Tokenizer(), 12), torch.tensor([[1, 2], [0, 5]])
    counter, rule = Counter(), StopRule(Tokenizer())
    answers = decode_batch(counter, counter.embed(prompts), [], config, [4, 4], rule)
    assert answers == [[3, 4, 5, 6], [6, 7]]


def test_a_token_is_fed_when_the_next_one_is_asked_for():
    config, counter, cache = generation_config({}, Tokenizer(), 12), Counter(), []
    embeds = counter.embed(torch.tensor([[2]]))
    steps = decode(counter, embeds, cache, config, [3], StopRule(Tokenizer()))
    assert (next(steps), cache) == ([3], [[[2]]])
    assert list(steps) == [[4], [5]]
    assert cache == [[[2]], [[3]], [[4]]]
