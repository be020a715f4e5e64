"""Floor 1. Headers of a base and a delta -> what becomes of each tensor, or a refusal."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from mmllava.checkpoints.entry import TensorEntry, nbytes_of
from mmllava.errors import CheckpointError

Entries = Mapping[str, TensorEntry]

EMBED = 'model.embed_tokens.weight'
GROWN = (EMBED, 'lm_head.weight')  # the delta may have more rows (new words) than the base
WHOLE = ('model.mm_projector.',)  # stored in full in the delta; the base has no such thing
# Angles that the model computes for itself. Old LLaMA conversions stored them, and an
# old delta may hold their difference: never a weight, on either side.
DROPPED = ('.rotary_emb.inv_freq',)
TOWER_SOURCE = 'vision_model.'
TOWER_TARGET = 'model.vision_tower.vision_tower.vision_model.'
TOWER_DROPPED = (  # the text half of a CLIP model, and a buffer that counts 0, 1, 2, ...
    'text_model.',
    'text_projection.',
    'visual_projection.',
    'logit_scale',
    'vision_model.embeddings.position_ids',
)
FLOATS = ('float16', 'bfloat16', 'float32', 'float64')
LLAMA_SIZES = {4096: '7B', 5120: '13B', 6656: '30B', 8192: '65B'}  # hidden size -> name


@dataclass(frozen=True)
class Move:
    """What becomes of one tensor.

    Args:
        name: in the result; for a dropped one, in its source.
        how: ``added`` base + delta; ``grown`` the same, and the delta's further
            rows as they are; ``whole`` as its only source has it; ``dropped``.
        dtype: of the result.
        shape: of the result.
        sources: (delta or tower,) or (delta, base).
    """

    name: str
    how: str
    dtype: str
    shape: tuple[int, ...]
    sources: tuple[TensorEntry, ...]

    @property
    def nbytes(self) -> int:
        """Bytes it takes in the result."""
        return 0 if self.how == 'dropped' else nbytes_of(self.dtype, self.shape)


def plan_merge(base: Entries, delta: Entries) -> list[Move]:
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
        Move(name, 'dropped', entry.dtype, entry.shape, (entry,))
        for name, entry in base.items()
        if name.endswith(DROPPED) and name not in delta
    ]


def plan_tower(tower: Entries) -> list[Move]:
    """Plans a CLIP model's vision half under the names of LLaVA v1.6.

    The tensors keep their type and every bit.

    Raises:
        CheckpointError: if there is no vision tower, or a tensor that no CLIP has.
    """
    if not any(name.startswith(TOWER_SOURCE) for name in tower):
        raise CheckpointError(
            f'no tensor of the vision tower begins with {TOWER_SOURCE}; found '
            f'{_some(tower)}. Name a CLIP model in Hugging Face layout.'
        )
    moves, unknown = [], []
    for name, entry in tower.items():
        if name.startswith(TOWER_DROPPED):
            moves.append(Move(name, 'dropped', entry.dtype, entry.shape, (entry,)))
        elif name.startswith(TOWER_SOURCE):
            target = TOWER_TARGET + name.removeprefix(TOWER_SOURCE)
            moves.append(Move(target, 'whole', entry.dtype, entry.shape, (entry,)))
        else:
            unknown.append(name)
    if unknown:
        raise CheckpointError(
            f'the vision tower holds what no CLIP model has: {_some(unknown)}. '
            'Name a CLIP model in Hugging Face layout.'
        )
    return moves


def count_moves(moves: list[Move]) -> dict[str, int]:
    """How many tensors are added, grown, whole and dropped."""
    counts = Counter(move.how for move in moves)
    return {how: counts[how] for how in ('added', 'grown', 'whole', 'dropped')}


def size_name(hidden: int) -> str:
    """What people call a LLaMA of this hidden size."""
    return f'LLaMA {LLAMA_SIZES[hidden]}' if hidden in LLAMA_SIZES else 'no released LLaMA'


def _refuse_wrong_pair(base: Entries, delta: Entries) -> None:
    """Refuses two checkpoints that cannot belong together, the plainest reason first."""
    extra = [name for name in base if name.startswith(WHOLE)]
    if extra:
        raise CheckpointError(
            f'the base holds {extra[0]}, so it is a LLaVA model already, or the delta itself; '
            'expected plain LLaMA. Check the order: base first, delta second.'
        )
    for what, entries in (('base', base), ('delta', delta)):
        if EMBED not in entries or len(entries[EMBED].shape) != 2:
            raise CheckpointError(
                f'the {what} has no {EMBED}; found {_some(entries)}. '
                'Expected a LLaMA model in Hugging Face layout.'
            )
    if not any(name.startswith(WHOLE) for name in delta):
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
            f'the delta has no {_some(left)}, which the base has. '
            'The delta is incomplete, or made from another kind of model.'
        )


def _move(name: str, delta: TensorEntry, base: TensorEntry | None) -> Move:
    """Decides about one tensor of the delta."""
    if name.endswith(DROPPED):
        return Move(name, 'dropped', delta.dtype, delta.shape, (delta,))
    for what, entry in (('base', base), ('delta', delta)):
        if entry is not None and entry.dtype not in FLOATS:
            raise CheckpointError(
                f'{name} of the {what} is {entry.dtype}; expected {", ".join(FLOATS)}. '
                'Quantised weights cannot be merged: use the float16 checkpoint.'
            )
    if base is None:
        if name.startswith(WHOLE):
            return Move(name, 'whole', 'float16', delta.shape, (delta,))
        raise CheckpointError(
            f'the delta holds {name}, which the base lacks and which is no projector '
            f'({WHOLE[0]}*). The base is incomplete, or the delta is of another kind.'
        )
    if base.shape == delta.shape:
        return Move(name, 'added', 'float16', delta.shape, (delta, base))
    if name in GROWN and len(base.shape) == 2 and base.shape[1:] == delta.shape[1:]:
        return Move(name, 'grown', 'float16', delta.shape, (delta, base))
    raise CheckpointError(
        f'{name} is {list(base.shape)} in the base but {list(delta.shape)} in the delta; only '
        f'{" and ".join(GROWN)} may differ, in rows. Use the base that the delta was made from.'
    )


def _layers(entries: Entries) -> int:
    """Counts the decoder layers."""
    return len({n.split('.')[2] for n in entries if n.startswith('model.layers.')})


def _some(names: Entries | list[str]) -> str:
    """The first three of many names."""
    names = list(names)
    return ', '.join(names[:3]) + (f' and {len(names) - 3} more' if len(names) > 3 else '')
