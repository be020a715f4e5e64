"""A small random language model, a padded batch, and a tokenizer of bare ids."""

import pytest
import torch

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
