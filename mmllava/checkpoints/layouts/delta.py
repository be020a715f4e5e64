"""Headers of a base and a delta -> what becomes of each tensor, or a refusal."""

from mmllava.checkpoints.layouts.keymaps import DROPPED as NO_WEIGHTS
from mmllava.checkpoints.layouts.keymaps import TOWER, to_original
from mmllava.checkpoints.layouts.tensor_plan import (
    FLOATS,
    Entries,
    Piece,
    TensorPlan,
    copy,
    drop,
    entry_rows,
    passthrough,
    preview,
)
from mmllava.checkpoints.storage.tensor_entry import TensorEntry
from mmllava.errors import CheckpointError

EMBED = 'model.embed_tokens.weight'
GROWN = (EMBED, 'lm_head.weight')  # the delta may have more rows (new words) than the base
# Stored in full in the delta; the base has no such thing.
WHOLE = ('model.mm_projector.', TOWER, 'model.image_newline')
# Angles that the model computes for itself. Old LLaMA conversions stored them, and an
# old delta may hold their difference: never a weight, on either side.
DROPPED = ('.rotary_emb.inv_freq',)
TOWER_SOURCE = 'vision_model.'
LLAMA_SIZES = {4096: '7B', 5120: '13B', 6656: '30B', 8192: '65B'}  # hidden size -> name


def plan_merge(base: Entries, delta: Entries) -> list[TensorPlan]:
    """Plans base + delta as LLaVA's apply_delta computes it, in float16.

    Sources in another type are rounded to float16 first; so does the original,
    which loads both models in float16.

    Returns:
        one move per tensor of the delta, in its order, then the dropped ones of
        the base.

    Raises:
        CheckpointError: if the two do not belong together, naming why.
    """
    _refuse_wrong_pair(base, delta)
    moves = [_move(name, entry, base.get(name)) for name, entry in delta.items()]
    return moves + [
        drop(name, entry)
        for name, entry in base.items()
        if name.endswith(DROPPED) and name not in delta
    ]


def plan_tower(tower: Entries) -> list[TensorPlan]:
    """Plans a CLIP model's vision half under the names of LLaVA v1.6.

    The tensors keep their type and every bit.

    Raises:
        CheckpointError: if there is no vision tower, or a tensor that no CLIP has.
    """
    renamed = {name: to_original(name, 'clip') for name in tower}
    if not any(name.startswith(TOWER) for name in renamed.values()):
        raise CheckpointError(
            f'no tensor of the vision tower begins with {TOWER_SOURCE}; found '
            f'{preview(tower)}. Name a CLIP model in Hugging Face layout.'
        )
    moves, unknown = [], []
    for name, entry in tower.items():
        if NO_WEIGHTS.search(name):
            moves.append(drop(name, entry))
        elif renamed[name].startswith(TOWER):
            moves.append(passthrough(renamed[name], entry))
        else:
            unknown.append(name)
    if unknown:
        raise CheckpointError(
            f'the vision tower holds what no CLIP model has: {preview(unknown)}. '
            'Name a CLIP model in Hugging Face layout.'
        )
    return moves


def size_name(hidden: int) -> str:
    """What people call a LLaMA of this hidden size."""
    return f'LLaMA {LLAMA_SIZES[hidden]}' if hidden in LLAMA_SIZES else 'no released LLaMA'


def _refuse_wrong_pair(base: Entries, delta: Entries) -> None:
    """Refuses two checkpoints that cannot belong together, the plainest reason first."""
    extra = [name for name in base if name.startswith(WHOLE[0])]
    if extra:
        raise CheckpointError(
            f'the base holds {extra[0]}, so it is a LLaVA model already, or the delta itself; '
            'expected plain LLaMA. Check the order: base first, delta second.'
        )
    for what, entries in (('base', base), ('delta', delta)):
        if EMBED not in entries or len(entries[EMBED].shape) != 2:
            raise CheckpointError(
                f'the {what} has no {EMBED}; found {preview(entries)}. '
                'Expected a LLaMA model in Hugging Face layout.'
            )
    if not any(name.startswith(WHOLE[0]) for name in delta):
        raise CheckpointError(
            f'the delta has no {WHOLE[0]}*, the part that LLaVA adds to LLaMA. '
            'Name a LLaVA delta; a Vicuna delta is something else.'
        )
    (base_rows, base_hidden), (rows, hidden) = base[EMBED].shape, delta[EMBED].shape
    if base_hidden != hidden:
        raise CheckpointError(
            f'the base has hidden size {base_hidden} ({size_name(base_hidden)}) but the delta '
            f'has {hidden} ({size_name(hidden)}). Use the base that the delta was made from.'
        )
    if base_rows > rows:
        raise CheckpointError(
            f'the base has {base_rows} words but the delta only {rows}: the base has words '
            'added to it. Use plain LLaMA, not a model that was trained further.'
        )
    base_layers, layers = _layers(base), _layers(delta)
    if base_layers != layers:
        raise CheckpointError(
            f'the base has {base_layers} layers but the delta has {layers}. '
            'Use the base that the delta was made from.'
        )
    left = [n for n in base if n not in delta and not n.endswith(DROPPED)]
    if left:
        raise CheckpointError(
            f'the delta has no {preview(left)}, which the base has. '
            'The delta is incomplete, or made from another kind of model.'
        )


def _move(name: str, delta: TensorEntry, base: TensorEntry | None) -> TensorPlan:
    """Decides about one tensor of the delta."""
    if name.endswith(DROPPED):
        return drop(name, delta)
    for what, entry in (('base', base), ('delta', delta)):
        if entry is not None and entry.dtype not in FLOATS:
            raise CheckpointError(
                f'{name} of the {what} is {entry.dtype}; expected {", ".join(FLOATS)}. '
                'Quantised weights cannot be merged: use the float16 checkpoint.'
            )
    if base is None:
        if name.startswith(WHOLE):
            return passthrough(name, delta, None if name.startswith(TOWER) else 'float16')
        raise CheckpointError(
            f'the delta holds {name}, which the base lacks and which is no projector '
            f'({WHOLE[0]}*). The base is incomplete, or the delta is of another kind.'
        )
    if base.shape == delta.shape:
        return TensorPlan(
            name, 'added', 'float16', delta.shape, (Piece('add', (delta, base), delta.shape),)
        )
    if name in GROWN and len(base.shape) == 2 and base.shape[1:] == delta.shape[1:]:
        shared = entry_rows(delta, 0, base.shape[0])
        parts = (
            Piece('add', (shared, base), base.shape),
            copy(entry_rows(delta, base.shape[0], delta.shape[0])),
        )
        return TensorPlan(name, 'grown', 'float16', delta.shape, parts)
    raise CheckpointError(
        f'{name} is {list(base.shape)} in the base but {list(delta.shape)} in the delta; only '
        f'{" and ".join(GROWN)} may differ, in rows. Use the base that the delta was made from.'
    )


def _layers(entries: Entries) -> int:
    """Counts the decoder layers."""
    return len({n.split('.')[2] for n in entries if n.startswith('model.layers.')})
