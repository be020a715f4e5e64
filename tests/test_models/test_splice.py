"""Image features inserted into token embeddings, and sequences to one batch."""

import pytest
import torch

from mmllava.errors import PromptError
from mmllava.models.splice import collate, splice
from mmllava.structures import IGNORE_INDEX, IMAGE_TOKEN_INDEX, EncodedPrompt


def plain_splice(language, ids, labels, features):
    """The obvious loop, one token after the other."""
    embeds, targets, features = [], [], list(features)
    for id_, label in zip(ids, labels, strict=True):
        if id_ == IMAGE_TOKEN_INDEX:
            rows = features.pop(0)
            embeds += list(rows)
            targets += [IGNORE_INDEX] * len(rows)
        else:
            embeds.append(language.embed(torch.tensor(id_)))
            targets.append(label)
    return torch.stack(embeds), torch.tensor(targets)


@pytest.mark.parametrize('ids', [[1, -200, 5], [-200, 7], [4, -200], [1, -200, -200, 3], [1, 2]])
def test_splicing_equals_the_obvious_loop(language, ids):
    labels = [IGNORE_INDEX if i == IMAGE_TOKEN_INDEX else i for i in ids]
    features = torch.randn(ids.count(IMAGE_TOKEN_INDEX), 3, 16)
    embeds, targets = splice(language, EncodedPrompt(ids, labels), list(features))
    expected, expected_targets = plain_splice(language, ids, labels, features)
    assert torch.equal(embeds, expected) and torch.equal(targets, expected_targets)


def test_slots_and_pictures_must_agree(language):
    with pytest.raises(PromptError, match='has 1 image slots but 2 images came'):
        splice(language, EncodedPrompt([-200], [-100]), list(torch.zeros(2, 3, 16)))


@pytest.mark.parametrize(('side', 'mask'), [('left', [0, 0, 1]), ('right', [1, 0, 0])])
def test_short_rows_are_padded_on_the_side_that_is_asked_for(side, mask):
    rows = [(torch.ones(n, 4), torch.arange(n)) for n in (3, 1)]
    batch = collate(rows, side)
    assert batch.mask.tolist() == [[1, 1, 1], mask]
    assert (batch.labels[1] == IGNORE_INDEX).tolist() == [not m for m in mask]
    assert batch.embeds[1].sum() == 4
