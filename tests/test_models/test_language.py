"""Language models: what is built, what is refused, padding and devices."""

import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmllava.errors import ConfigError
from mmllava.models import LanguageModel
from tests.test_models.conftest import LANGUAGE


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(LANGUAGE, model_type='lama'), "unknown language model 'lama'. Did you mean llama"),
        (dict(vocab_size=5), 'LanguageModel lacks hidden_size'),
        (dict(LANGUAGE, vocabsize=5), "'vocabsize'. Did you mean vocab_size"),
    ],
)
def test_a_language_model_that_cannot_be_built_says_why(settings, message):
    with pytest.raises(ConfigError, match=message):
        LanguageModel(**settings)


def test_mistral_is_built_too():
    model = LanguageModel(model_type='mistral', **LANGUAGE)
    assert type(model.lm).__name__ == 'MistralForCausalLM'


def test_a_null_in_a_config_json_is_kept(tmp_path):
    stored = dict(LANGUAGE, model_type='llava_mistral', sliding_window=None)
    (tmp_path / 'config.json').write_text(json.dumps(stored))
    assert LanguageModel(name_or_path=tmp_path).config.sliding_window is None
    assert LanguageModel(model_type='mistral', **LANGUAGE).config.sliding_window == 4096


@pytest.mark.parametrize(
    ('scaling', 'context'),
    [
        (None, 64),
        (dict(type='linear', factor=4.0), 256),
        (dict(rope_type='dynamic', factor=2.0), 128),
        (dict(rope_type='yarn', factor=4.0), 256),
        (dict(rope_type='yarn', factor=4.0, original_max_position_embeddings=16), 64),
    ],
)
def test_scaled_positions_stretch_the_context(scaling, context):
    sizes = dict(LANGUAGE, max_position_embeddings=64, rope_scaling=scaling)
    assert LanguageModel(**sizes).max_tokens == context


def test_what_transformers_does_not_build_is_refused_with_its_reason():
    sizes = dict(LANGUAGE, rope_scaling=dict(rope_type='llama3', factor=8.0))
    with pytest.raises(ConfigError, match='transformers builds no llama of .*high_freq_factor'):
        LanguageModel(**sizes)


@torch.no_grad()
def test_padding_on_the_left_changes_no_logit(language):
    embeds = torch.randn(1, 5, 16)
    alone = language(embeds, torch.ones(1, 5, dtype=torch.long))
    padded = nn.functional.pad(embeds, (0, 0, 3, 0), value=9.0)
    mask = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1]])
    assert torch.allclose(language(padded, mask)[:, 3:], alone, atol=1e-5)


def test_logits_come_to_the_device_of_the_words(language, monkeypatch):
    """Spread over GPUs, lm_head may be on another one; meta stands for it here."""
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
