"""A small random language model."""

import pytest
import torch

from mmllava.models import LanguageModel

LANGUAGE = dict(
    vocab_size=50,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
    max_position_embeddings=64,
)


@pytest.fixture(scope='module')
def language():
    torch.manual_seed(0)
    return LanguageModel(**LANGUAGE)
