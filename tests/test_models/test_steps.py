"""Our loop gives what transformers' loop gives, row by row and draw by draw."""

import pytest
import torch

from mmllava.errors import ConfigError
from mmllava.generation.config import generation_config
from mmllava.generation.decode import decode
from mmllava.models.language import LanguageModel
from mmllava.models.splice import collate

LENGTHS = (3, 9, 2, 6)


class Tokenizer:
    """Ids that are their own words; id 7 ends the text."""

    bos_id, eos_id, pad_id = 1, 7, 0

    def find(self, word):
        return None

    def decode(self, ids):
        return ''.join(f'<{i}>' for i in ids)


@pytest.fixture(scope='module')
def language():
    torch.manual_seed(3)
    made = LanguageModel(
        vocab_size=12,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    for parameter in made.lm.parameters():  # transformers draws them so small that nothing varies
        torch.nn.init.normal_(parameter, std=0.6)
    return made.eval()


@pytest.fixture(scope='module')
def batch(language):
    generator = torch.Generator().manual_seed(5)
    rows = [torch.randn(n, 16, generator=generator) for n in LENGTHS]
    return collate([(row, torch.zeros(len(row)).long()) for row in rows], 'left')


def until_end(answers, stop=None):
    """Both loops up to where an answer ends; what follows is filling."""
    cut = []
    for ids in answers:
        end = next((k for k, i in enumerate(ids) if i == 7), len(ids))
        ids = ids[:end]
        if stop:
            ends = [k for k in range(len(ids) + 1) if stop in Tokenizer().decode(ids[:k])]
            ids = ids[: ends[0]] if ends else ids
        cut.append(ids)
    return cut


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


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(max_new_tokens=2.5), 'max_new_tokens is 2.5, expected a whole number from 1 on'),
        (dict(max_new_tokens=True), 'max_new_tokens is True, expected a whole number'),
        (dict(num_beams=0), 'num_beams is 0, expected a whole number from 1 on'),
        (dict(do_sample=True, temperature=-1.0), 'settings .* do not work: .*temperature'),
        (dict(do_sample=True, temperature='hot'), 'settings .* do not work: .*temperature'),
        (dict(do_sample=True, top_p=2.0), 'settings .* do not work: .*top_p'),
        (dict(do_sample=True, top_k=-3), 'settings .* do not work: .*top_k'),
        (dict(repetition_penalty=0), 'settings .* do not work: .*penalty'),
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused(language, batch, settings, message):
    with pytest.raises(ConfigError, match=message):
        language.generate(batch.embeds, batch.mask, Tokenizer(), settings)


def test_a_padding_id_without_a_row_is_replaced_by_the_end():
    """13B-v0 has a [PAD] beyond its matrix; it would be embedded when a row is done."""
    assert generation_config({}, Tokenizer(), 12).pad_token_id == 0

    class Beyond(Tokenizer):
        pad_id = 12

    assert generation_config({}, Beyond(), 12).pad_token_id == 7


def test_logits_come_to_the_device_of_the_words(language, monkeypatch):
    """Spread over GPUs, lm_head may be on another one; meta stands for it here."""
    from types import SimpleNamespace

    embeds = torch.zeros(1, 2, 16)
    there = torch.zeros(1, 1, 12)
    moved = []
    answer = SimpleNamespace(logits=_Elsewhere(there, moved))
    monkeypatch.setattr(language.lm, 'forward', lambda **kwargs: answer)
    language.extend(embeds, language.new_cache())
    assert moved == [(embeds.device, torch.float32)]


class _Elsewhere:
    """A tensor that only notes where it is moved to."""

    def __init__(self, tensor, moved):
        self.tensor, self.moved = tensor, moved

    def __getitem__(self, key):
        return _Elsewhere(self.tensor[key], self.moved)

    def to(self, device, dtype):
        self.moved.append((device, dtype))
        return self.tensor


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
    streamed = decode(
        language, batch.embeds[1:2], language.new_cache(), Marked(), settings, stop='<|im_end|>'
    )
    assert list(streamed) == [i for i in language.generate(*arguments)[1] if i not in (5, 7)]


@pytest.mark.parametrize('settings', [dict(num_beams=3), dict(min_new_tokens=4)], ids=str)
def test_what_our_loop_does_not_know_goes_to_transformers(language, batch, settings, monkeypatch):
    monkeypatch.setattr(language, 'steps', None)
    settings = dict(settings, do_sample=False, max_new_tokens=6)
    arguments = (batch.embeds, batch.mask, Tokenizer(), settings)
    assert language.generate(*arguments) == language.generate_by_transformers(*arguments)


def test_sampling_keeps_the_fifty_best_unless_told_otherwise():
    """transformers 4, with which LLaVA was written, has this default; transformers 5 has none."""
    made = generation_config(dict(do_sample=True), Tokenizer(), 12)
    assert made.top_k == 50
    assert generation_config(dict(do_sample=True, top_k=0), Tokenizer(), 12).top_k == 0
    assert not generation_config(dict(do_sample=False), Tokenizer(), 12).do_sample
