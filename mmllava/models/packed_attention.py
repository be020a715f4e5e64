"""Attention of samples that stand in one row and must not see each other."""

import logging
from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate, pairwise
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface

from mmllava.errors import ConfigError

_APART = 'mmllava_apart'  # transformers' default, and rows of several samples


def packed_attention_kwargs(lm: Any, positions: Tensor) -> dict[str, Any]:
    """Returns the arguments with which transformers' model attends to each packed sample alone.

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


def packed_attention(
    attend: Callable[..., tuple[Tensor, Any]],
) -> Callable[..., tuple[Tensor, Any]]:
    """An attention function of transformers' that also takes ``lengths``.

    With them, each sample of the row is attended alone: as much work as in rows of their
    own, none of it on padding, and no mask over the whole row. On a GPU in half precision, where
    flash-attn is installed, that is one call; else one call a sample.

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
        half, flash = _half_type(value), _flash()
        if query.is_cuda and half and flash:
            return flash_varlen(flash, query, key, value, lengths, half, settings), None
        samples = zip(*(t.split(list(lengths), dim=2) for t in (query, key, value)), strict=True)
        parts = [attend(module, *sample, None, **settings)[0] for sample in samples]
        return torch.cat(parts, dim=1), None

    return attend_apart


def flash_varlen(
    flash: Callable[..., Tensor],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    lengths: Sequence[int],
    dtype: torch.dtype,
    settings: dict[str, Any],
) -> Tensor:
    """Samples of one row, each causal and alone, by flash-attn's ``flash_attn_varlen_func``.

    Args:
        flash: that function: takes ``(L, H, D / H)`` and where each sample begins and ends.
        query, key, value: ``(1, H, L, D / H)``; key and value may have fewer heads.
        lengths: tokens of each sample; L in all.
        dtype: float16 or bfloat16, which it computes in.
        settings: ``scaling`` and ``dropout`` of transformers.

    Returns:
        ``(1, L, H, D / H)``.
    """
    rows = [t[0].transpose(0, 1).to(dtype) for t in (query, key, value)]
    ends = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=query.device)
    out = flash(
        *rows,
        cu_seqlens_q=ends,
        cu_seqlens_k=ends,
        max_seqlen_q=max(lengths),
        max_seqlen_k=max(lengths),
        dropout_p=settings.get('dropout', 0.0),
        softmax_scale=settings.get('scaling'),
        causal=True,
    )
    return out[None]


def _half_type(value: Tensor) -> torch.dtype | None:
    """The half precision that attention is computed in here; None where it is float32."""
    kind = value.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else value.dtype
    return dtype if dtype in (torch.float16, torch.bfloat16) else None


@cache
def _flash() -> Callable[..., Tensor] | None:
    try:
        from flash_attn import flash_attn_varlen_func
    except (ImportError, OSError) as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == 'flash_attn'
        if not absent:  # built for another PyTorch or CUDA
            message = f'flash-attn is installed and cannot be imported, so it is not used: {error}'
            print_log(message, logger='current', level=logging.WARNING)
        return None
    return flash_attn_varlen_func


AttentionInterface.register(_APART, packed_attention(AttentionInterface()['sdpa']))
AttentionMaskInterface.register(_APART, AttentionMaskInterface()['sdpa'])
