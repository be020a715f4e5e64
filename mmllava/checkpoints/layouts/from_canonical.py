"""A model under the original's names -> the moves that write it in another layout."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mmllava.checkpoints.layouts import hf_config, mmpretrain_vit
from mmllava.checkpoints.layouts.delta import (
    EMBED,
    GROWN,
    MAX_DELTA_RATIO,
    NORM,
    WHOLE,
    as_float,
    check_configs,
)
from mmllava.checkpoints.layouts.keymaps import DROPPED, TOWER, from_original
from mmllava.checkpoints.layouts.tensor_plan import (
    Piece,
    TensorPlan,
    drop,
    entry_rows,
    join,
    preview,
    rows,
)
from mmllava.checkpoints.layouts.to_canonical import HEAD, Model, Source
from mmllava.checkpoints.layouts.validate import TOWER_END, has_tower, projector_depth
from mmllava.errors import CheckpointError, unknown_name

#: Layouts that can be written.
TARGETS = ('mmllava', 'original', 'hf', 'mmpretrain', 'delta', 'projector')


def from_canonical(model: Model, layout: str, base: Source | None = None) -> list[TensorPlan]:
    """Plans a model in another layout.

    Args:
        model: whole, by the original's names.
        layout: one of ``TARGETS``.
        base: LLaMA, for ``delta`` alone.

    Returns:
        one move per tensor of the result, then what is dropped.

    Raises:
        ConfigError: unknown ``layout``.
        CheckpointError: the layout cannot hold the model, and why.
    """
    if layout not in TARGETS:
        raise unknown_name('layout to convert to', layout, TARGETS)
    gone = [move for move in model.moves if move.how == 'dropped']
    writer: Callable = {
        'hf': _hf, 'mmpretrain': _mmpretrain, 'projector': _projector
    }.get(layout, _named)  # fmt: skip
    made = _delta(model, base) if layout == 'delta' else writer(model, layout)
    return made + gone


def _named(model: Model, layout: str) -> list[TensorPlan]:
    """The same tensors under other names."""
    linear = projector_depth(model.kept) == 1
    return [
        replace(move, name=from_original(name, layout, linear)) for name, move in model.kept.items()
    ]


def _hf(model: Model, layout: str) -> list[TensorPlan]:
    """transformers' names, its vocabulary padded.

    Every further row is a copy of the first word's, ``<unk>``: greedy decoding, which takes
    the first of equals, never chooses one.
    """
    kept, depth = model.kept, projector_depth(model.kept)
    if depth != 2:
        raise CheckpointError(
            f'this model has a projector of {depth} linear layer{"s" * (depth != 1)} (v0 and v1 '
            'have one); transformers builds two, so its layout cannot hold it. Convert to '
            'mmllava or original instead.'
        )
    if not has_tower(kept):
        raise CheckpointError(
            'this model has no vision tower inside, and transformers needs one there. Add '
            f'--tower with a folder of its CLIP ({model.config.get("mm_vision_tower", "CLIP-L")}).'
        )
    missing = [name for name in TOWER_END if name not in kept]
    if missing:
        raise CheckpointError(
            f'this model lacks {missing[0]}, which LLaVA never reads and transformers would draw '
            'at random. Add --tower with a folder of its CLIP: only this is taken from there.'
        )
    count = kept[EMBED].shape[0]
    wanted = hf_config.padded_rows(count)
    moves = {move.name: move for move in _named(model, layout)}
    for name in (EMBED, HEAD):
        old = kept[name]
        parts = join((*old.parts, *rows(old.parts, 0, 1) * (wanted - count)))
        target = from_original(name, layout)
        moves[target] = TensorPlan(target, 'padded', old.dtype, (wanted, *old.shape[1:]), parts)
    return list(moves.values())


def _mmpretrain(model: Model, layout: str) -> list[TensorPlan]:
    """mmpretrain's names; what it has no place for is dropped by name."""
    kept = model.kept
    if 'model.image_newline' in kept:
        raise CheckpointError(
            "this model is v1.6 (it has model.image_newline), and mmpretrain's Llava knows v1 and "
            'v1.5. Convert to mmllava, original or hf instead.'
        )
    tower, left = mmpretrain_vit.from_canonical(kept)
    language = [
        replace(move, name=from_original(name, layout))
        for name, move in kept.items()
        if not name.startswith(TOWER)
    ]
    return language + tower + [_gone(move) for move in left]


def _projector(model: Model, layout: str) -> list[TensorPlan]:
    """The projector, v1.6's newline, and the rows of the start and end words."""
    kept = model.kept
    moves = [m for n, m in kept.items() if n.startswith(('model.mm_projector.', 'model.image_'))]
    if model.config.get('mm_use_im_start_end'):
        embed = kept[EMBED]
        parts = rows(embed.parts, embed.shape[0] - 2, embed.shape[0])
        moves.append(TensorPlan(EMBED, 'cut', embed.dtype, (2, *embed.shape[1:]), parts))
    taken = {move.name for move in moves}
    return moves + [_gone(move) for name, move in kept.items() if name not in taken]


def _gone(move: TensorPlan) -> TensorPlan:
    return TensorPlan(move.name, 'dropped', move.dtype, move.shape, move.parts)


def _delta(model: Model, base: Source | None) -> list[TensorPlan]:
    """The difference to a base, in float16, as the published ones are."""
    if base is None or base.layout != 'llama':
        found = f'{base.path} is {base.layout}: {base.reason}' if base else 'no --base was named'
        raise CheckpointError(
            f'a delta is the difference to a language model, and {found} Name LLaMA by --base.'
        )
    check_configs(base.config, model.config)
    kept = model.kept
    left = [n for n in base.entries if n not in kept and not DROPPED.search(n)]
    if left:
        raise CheckpointError(
            f'the model has no {preview(left)}, which the base has. Name the base that the model '
            'was made from.'
        )
    moves = [_difference(kept[name], base) for name in kept]
    _check_difference(kept[NORM], base)
    moves += [drop(n, e) for n, e in base.entries.items() if DROPPED.search(n)]
    return moves


def _difference(move: TensorPlan, base: Source) -> TensorPlan:
    """One tensor minus the base's; whole where the base has none."""
    entry = base.entries.get(move.name)
    if entry is None and not move.name.startswith(WHOLE):
        raise CheckpointError(
            f'the model has {move.name}, which {base.path} lacks. Name the base that the model '
            'was made from.'
        )
    if entry is None:
        return move if move.name.startswith(TOWER) else replace(move, dtype='float16')
    shared = entry.shape[0]
    fits = move.shape[1:] == entry.shape[1:] and move.shape[0] >= shared
    if not fits or (move.shape[0] > shared and move.name not in GROWN):
        raise CheckpointError(
            f'{move.name} is {list(move.shape)} in the model but {list(entry.shape)} in the base; '
            f'only {" and ".join(GROWN)} may have more rows. Name the base that it was made from.'
        )
    if any(part.how != 'copy' for part in move.parts):
        raise CheckpointError(
            f'{move.name} of the model is made by {move.parts[0].how}, and a difference of it '
            'would be rounded twice. Write the model first, then make the delta of the result.'
        )
    parts, at = [], 0
    for part in rows(move.parts, 0, shared):
        below = entry_rows(entry, at, at + part.shape[0])
        parts.append(Piece('subtract', (part.sources[0], below), part.shape))
        at += part.shape[0]
    parts += rows(move.parts, shared, move.shape[0])
    how = 'subtracted' if move.shape == entry.shape else 'grown'
    return TensorPlan(move.name, how, 'float16', move.shape, tuple(parts))


def _check_difference(norm: TensorPlan, base: Source) -> None:
    """Refuses a base that is no relative of the model."""
    whole, below = as_float(norm.sources[0]), as_float(base.entries[NORM])
    change = float(np.linalg.norm(whole - below)) / max(float(np.linalg.norm(below)), 1e-30)
    if not change < MAX_DELTA_RATIO:
        raise CheckpointError(
            f'{NORM} of the model is {change:.2f} times its size away from that of {base.path}; '
            'training moves it by a few hundredths. This is not the base of the model.'
        )
