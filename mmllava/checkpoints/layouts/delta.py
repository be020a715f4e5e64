"""Plans base + delta, tensor by tensor, and refuses a pair that does not belong together.

Refused only where sure: Vicuna 1.1 and 1.3 have LLaMA's shapes, its vocabulary and (nearly)
its values. Where their config does not give them away, they cannot be told from LLaMA here.
"""

import re
from typing import Any

import numpy as np

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
from mmllava.checkpoints.storage.tensor_entry import DTYPES, TensorEntry, map_tensor
from mmllava.errors import CheckpointError

EMBED = 'model.embed_tokens.weight'
GROWN = (EMBED, 'lm_head.weight')  # the delta may have more rows (new words) than the base
# Stored in full in the delta; the base has no such thing.
WHOLE = ('model.mm_projector.', TOWER, 'model.image_newline')
# Angles that the model computes for itself. Old LLaMA conversions stored them, and an
# old delta may hold their difference: never a weight, on either side.
DROPPED = ('.rotary_emb.inv_freq',)
TOWER_SOURCE = 'vision_model.'
NORM = 'model.norm.weight'
# Training moves the last norm's weights by a few percent; a whole model's are as large
# as LLaMA's own. The factor between the two leaves no middle ground to be wrong in.
MAX_DELTA_RATIO = 0.5
LLAMA_WORDS = 32000
# Mean size of a last norm's values: 1.5 to 2 in LLaMA, a few hundredths in a published delta.
LEAST_NORM = 0.3
# What the publishers' configs record of themselves, as in lmsys/vicuna-7b-v1.5.
_PUBLISHED = re.compile(r'(lmsys/)?vicuna-\d+b(-delta)?(-v[\d.]+(-16k)?)?')
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
    """Names the LLaMA of a hidden size, as people call it."""
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


def check_configs(base: dict[str, Any], delta: dict[str, Any]) -> None:
    """Refuses a base whose ``config.json`` says that it is not LLaMA-1.

    Raises:
        CheckpointError: for LLaVA, Llama-2 and what is built on it, and Vicuna.
    """
    advice = 'Use the LLaMA-1 weights that the delta was made from, such as huggyllama/llama-7b.'
    kind = ' '.join([str(base.get('model_type', '')), *map(str, base.get('architectures') or [])])
    if 'llava' in kind.lower() or 'mm_vision_tower' in base:
        raise CheckpointError(f'the base says of itself that it is LLaVA ({kind}). {advice}')
    name = str(base.get('_name_or_path', '')).rstrip('/')
    if _PUBLISHED.fullmatch(name):
        raise CheckpointError(
            f'the base says of itself that it is {name}: Vicuna, LLaMA with its own delta '
            f'merged already. {advice}'
        )
    hidden, eps = base.get('hidden_size'), base.get('rms_norm_eps')
    if hidden in (4096, 5120) and eps == 1e-5:  # LLaMA-1 of these sizes: 1e-6
        raise CheckpointError(
            f'the base has rms_norm_eps {eps} and a context of '
            f'{base.get("max_position_embeddings")}: Llama-2, or a model built on it such as '
            f'Vicuna 1.5; LLaMA-1 has 1e-06 and 2048. {advice}'
        )
    for key in ('num_attention_heads', 'intermediate_size', 'num_hidden_layers'):
        if key in base and key in delta and base[key] != delta[key]:
            raise CheckpointError(
                f'{key} is {base[key]} in the config of the base but {delta[key]} in that of '
                f'the delta. {advice}'
            )


def check_vocabulary(base: Entries, words: int | None) -> None:
    """Refuses a base with other words than those that LLaMA has.

    Args:
        base: the base's entries.
        words: pieces in the delta's ``tokenizer.model``, which are LLaMA's own words;
            None where there is no such file.
    """
    rows, hidden = base[EMBED].shape
    if words is None and hidden in (4096, 5120, 6656, 8192):
        words = LLAMA_WORDS
    if words is not None and rows != words:
        what = 'has words added to it (Vicuna v0 has one)' if rows > words else 'lacks words'
        raise CheckpointError(
            f'the base has {rows} words but LLaMA has {words}: it {what}. '
            'Use plain LLaMA, not a model that was trained further.'
        )


def check_values(base: Entries, delta: Entries) -> None:
    """Refuses a 'delta' whose values are as large as whole weights.

    Reads one small tensor of each, ``model.norm.weight``.
    """
    if not all(NORM in entries and entries[NORM].dtype in FLOATS for entries in (base, delta)):
        return
    whole = float(np.linalg.norm(as_float(base[NORM])))
    change = float(np.linalg.norm(as_float(delta[NORM])))
    if change > MAX_DELTA_RATIO * whole > 0:
        raise CheckpointError(
            f'{NORM} of the delta is as large as {change / whole:.2f} times that of the base; a '
            'delta holds small differences (below 0.5). This is a whole model, merged already: '
            'use it as it is, or check the order: base first, delta second.'
        )


def is_difference(norm: TensorEntry) -> tuple[bool, float]:
    """Tells a delta from a model by its last norm; gives (is a delta, mean size of its values).

    Raises:
        CheckpointError: if the norm holds no floating point numbers.
    """
    if norm.dtype not in FLOATS or not norm.nbytes:
        raise CheckpointError(
            f'{norm.name} is {norm.dtype} of shape {list(norm.shape)}; expected '
            f'{", ".join(FLOATS)}. Quantised weights cannot be read here: use the float16 '
            'checkpoint.'
        )
    size = float(np.abs(as_float(norm)).mean())
    return size < LEAST_NORM, size


def as_float(entry: TensorEntry) -> np.ndarray:
    """Reads a tensor as float32; float64 loses digits."""
    values = map_tensor(entry)
    if entry.dtype == 'bfloat16':  # the upper half of a float32's bits
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(DTYPES['float32'])
