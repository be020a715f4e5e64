"""Floor 2. Attention of samples that stand in one row and must not see each other."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


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
