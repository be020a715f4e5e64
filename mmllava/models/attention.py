"""Floor 2. Attention of samples that stand in one row and must not see each other."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface

from mmllava.errors import ConfigError

_APART = 'mmllava_apart'  # transformers' default, and rows of several samples


def settings_apart(lm: Any, positions: Tensor) -> dict[str, Any]:
    """What transformers' model takes, so that each sample of a row is attended alone.

    Args:
        lm: the model; it is told which attention function to use.
        positions: ``(1, L)``; each sample begins at 0.

    Raises:
        ConfigError: a sample is longer than the model's sliding window.
    """
    window = getattr(lm.config, 'sliding_window', None)
    if window and positions.max() >= window:
        raise ConfigError(
            f'a sample has {int(positions.max()) + 1} tokens, and this language model attends '
            f'within {window}, which packed rows do not. Leave out pack=True.'
        )
    if lm.config._attn_implementation != _APART:
        lm.set_attn_implementation(_APART)
    starts = (positions[0] == 0).nonzero().flatten().tolist()
    return dict(
        lengths=[b - a for a, b in pairwise([*starts, positions.shape[1]])],
        # Four dimensions: transformers takes it for a mask, and makes none of L x L.
        attention_mask=torch.empty(1, 1, 1, 1, device=positions.device),
    )


def apart(attend: Callable[..., tuple[Tensor, Any]]) -> Callable[..., tuple[Tensor, Any]]:
    """An attention function of transformers' that also takes ``lengths``.

    With them, each sample of the row is attended alone: as much work as in rows of their
    own, none of it on padding, and no mask over the whole row.

    Args:
        attend: takes module, query, key and value ``(1, H, L, D / H)`` and a mask, None for
            a causal one; gives ``(1, L, H, D / H)`` and weights or None.
    """

    def attend_apart(
        module: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        lengths: Sequence[int] | None = None,
        **settings: Any,
    ) -> tuple[Tensor, Any]:
        if lengths is None:
            return attend(module, query, key, value, attention_mask, **settings)
        samples = zip(*(t.split(list(lengths), dim=2) for t in (query, key, value)), strict=True)
        parts = [attend(module, *sample, None, **settings)[0] for sample in samples]
        return torch.cat(parts, dim=1), None

    return attend_apart


AttentionInterface.register(_APART, apart(AttentionInterface()['sdpa']))
AttentionMaskInterface.register(_APART, AttentionMaskInterface()['sdpa'])
