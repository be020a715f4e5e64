"""What ends an answer besides the end of text: ``<|im_end|>`` for the 34B, ``###`` for v0."""

import pytest
import torch

from mmllava.generation.decode import decode
from mmllava.models.language import LanguageModel
from mmllava.prompts.templates import get_template


class Tokenizer:
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
    free = list(decode(language, embeds, language.new_cache(), Tokenizer(None), SETTINGS))
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
    assert LOOPS[loop](language, embeds, Tokenizer(stop)) == free[: free.index(stop) + 1]


def test_a_stream_ends_before_it(case):
    language, embeds, free = case
    stop = next(i for i in free[2:] if i not in free[:2])
    given = decode(language, embeds, language.new_cache(), Tokenizer(stop), SETTINGS, stop='<stop>')
    assert list(given) == free[: free.index(stop)]


def test_beams_end_with_it_too(case):
    language, embeds, _ = case
    never = LOOPS['beams'](language, embeds, Tokenizer(None))
    stop = next(i for i in never[2:] if i not in never[:2])
    ids = LOOPS['beams'](language, embeds, Tokenizer(stop))
    assert stop not in ids[:-1]


@pytest.mark.parametrize(
    ('template', 'text', 'answer'),
    [
        ('llava_v0', 'A cat. ### Human: x', 'A cat.'),
        ('llava_v0', '### Human: x', ''),
        ('chatml_direct', 'A # cat.<|im_end|>\n', 'A # cat.'),
        ('vicuna_v1', ' A ### cat. ', 'A ### cat.'),
    ],
)
def test_a_stop_that_is_text_is_cut_off_with_all_that_follows(
    tiny_model, monkeypatch, template, text, answer
):
    monkeypatch.setattr(tiny_model, 'template', get_template(template))
    assert tiny_model.decode_answer(tiny_model.tokenizer.encode(text)) == answer
