"""Settings that are checked, and what they become."""

import pytest
import torch

from mmllava.errors import ConfigError
from mmllava.generation.config import check_streamable, generation_config
from tests.test_generation.conftest import Tokenizer


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


def test_sampling_keeps_the_fifty_best_unless_told_otherwise():
    """transformers 4, with which LLaVA was written, has this default; transformers 5 has none."""
    made = generation_config(dict(do_sample=True), Tokenizer(), 12)
    assert made.top_k == 50
    assert generation_config(dict(do_sample=True, top_k=0), Tokenizer(), 12).top_k == 0
    assert not generation_config(dict(do_sample=False), Tokenizer(), 12).do_sample


def test_an_unknown_generation_setting_is_answered_with_the_close_ones(language):
    class Ids:
        bos_id, eos_id, pad_id = 1, 2, 0

    embeds, mask = torch.zeros(1, 2, 16), torch.ones(1, 2, dtype=torch.long)
    with pytest.raises(ConfigError, match="'num_beam'. Did you mean num_beams"):
        language.generate(embeds, mask, Ids, dict(num_beam=3))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(num_beam=3), "'num_beam'. Did you mean num_beams"),
        (dict(min_new_tokens=3), 'min_new_tokens=3: a streamed answer follows do_sample, '),
        (dict(num_beams=3), 'num_beams=3: beams cannot be streamed. Use num_beams=1'),
    ],
)
def test_settings_that_a_stream_would_not_follow_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        check_streamable(settings)
    assert check_streamable(dict(num_beams=1, temperature=0.2)) is None
