"""Tied heads: an output matrix that is the token embedding, and is left out of the file."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmllava.checkpoints.layouts.keymaps import find_original, from_original
from mmllava.checkpoints.layouts.tensor_plan import TensorPlan
from mmllava.checkpoints.storage.tensor_entry import TensorEntry, map_tensor

EMBED, HEAD = 'model.embed_tokens.weight', 'lm_head.weight'
_STEP = 1 << 20  # bytes that are compared at a time
#: What to do about a head that is missing, for messages.
ADVICE = (
    ' If its head is tied to the token embedding, the config.json beside the weights must say '
    '"tie_word_embeddings": true.'
)


def says_tied(config: Mapping[str, Any]) -> bool:
    """Tells whether a ``config.json`` ties the head, itself or in its ``text_config``.

    transformers 4 goes by ``text_config`` and leaves the outer key out; 5 ties where either says
    so. Where neither does, the head is not tied: that is the default of LLaMA and Mistral.
    """
    text = config.get('text_config')
    parts = (config, text if isinstance(text, Mapping) else {})
    return any(part.get('tie_word_embeddings') is True for part in parts)


def tie_head(
    entries: Mapping[str, TensorEntry], config: Mapping[str, Any], layout: str
) -> Mapping[str, TensorEntry]:
    """Adds the head that a tied checkpoint leaves out: the entry of its embedding.

    A head of its own is the same entry too where its values are the embedding's; where they are
    others it stays, as in transformers 5, and the model is not tied.

    Args:
        entries: name -> entry.
        config: the checkpoint's ``config.json``.
        layout: how the tensors are named, a key of ``keymaps.PREFIXES``.
    """
    named = {find_original(name, layout): name for name in entries}
    if EMBED not in named or not says_tied(config):
        return entries
    embed = entries[named[EMBED]]
    head = named.get(HEAD) or from_original(HEAD, layout)
    if head in entries and not same_values(entries[head], embed):
        return entries
    return {**entries, head: embed}


def is_tied(moves: Mapping[str, TensorPlan]) -> bool:
    """Tells whether a plan, by the original's names, makes the head of what makes the embedding."""
    return HEAD in moves and EMBED in moves and moves[HEAD].parts == moves[EMBED].parts


def tied_to(embed: TensorPlan) -> TensorPlan:
    """The head that is this embedding."""
    return TensorPlan(HEAD, 'tied', embed.dtype, embed.shape, embed.parts)


def same_values(first: TensorEntry, second: TensorEntry) -> bool:
    """Compares two tensors bit for bit; those that lie in one place are not read."""
    if (first.dtype, first.shape) != (second.dtype, second.shape):
        return False
    if (first.file, first.offset) == (second.file, second.offset):
        return True
    one, other = (map_tensor(entry).reshape(-1).view(np.uint8) for entry in (first, second))
    return all(
        np.array_equal(one[k : k + _STEP], other[k : k + _STEP]) for k in range(0, len(one), _STEP)
    )
