"""Is a model whole, and do its parts and its config belong together?"""

import itertools
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmllava.checkpoints.layouts.keymaps import TOWER
from mmllava.checkpoints.layouts.tensor_plan import FLOATS, TensorPlan, preview
from mmllava.checkpoints.layouts.tied import ADVICE
from mmllava.errors import CheckpointError

_EMBED, _HEAD = 'model.embed_tokens.weight', 'lm_head.weight'
_LAYER = (
    *(f'self_attn.{n}_proj.weight' for n in 'qkvo'),
    *(f'mlp.{n}_proj.weight' for n in ('gate', 'up', 'down')),
    'input_layernorm.weight',
    'post_attention_layernorm.weight',
)
_BLOCK = tuple(
    f'{part}.{what}'
    for part in (
        *(f'self_attn.{n}_proj' for n in ('q', 'k', 'v', 'out')),
        *('mlp.fc1', 'mlp.fc2', 'layer_norm1', 'layer_norm2'),
    )
    for what in ('weight', 'bias')
)
_TOWER = (
    'embeddings.class_embedding',
    'embeddings.patch_embedding.weight',
    'embeddings.position_embedding.weight',
    'pre_layrnorm.weight',
    'pre_layrnorm.bias',
)
#: What LLaVA never reads of a tower; checkpoints without it are whole.
TOWER_END = (f'{TOWER}post_layernorm.weight', f'{TOWER}post_layernorm.bias')
_TYPES = {1: 'linear', 2: 'mlp2x_gelu'}  # linear layers -> mm_projector_type


def projector_depth(names: Mapping[str, TensorPlan]) -> int:
    """Linear layers of the projector; 0 without one."""
    return sum(name.startswith('model.mm_projector.') and name.endswith('weight') for name in names)


def has_tower(names: Mapping[str, TensorPlan]) -> bool:
    """Tells whether a vision tower is inside."""
    return any(name.startswith(TOWER) for name in names)


def check_model(
    moves: Mapping[str, TensorPlan], config: Mapping[str, Any], path: Path, partial: bool = False
) -> None:
    """Refuses a model with a hole, or parts that do not belong together.

    Args:
        moves: by the original's names, without dropped ones.
        config: as LLaVA's ``config.json`` has it, or ``{}``.
        path: of the source, for the message.
        partial: whether a model without projector will do.

    Raises:
        CheckpointError: names the tensors or settings.
    """
    quantised = [e for m in moves.values() for e in m.sources if e.dtype not in FLOATS]
    if quantised:
        raise CheckpointError(
            f'{path}: {quantised[0].name} is {quantised[0].dtype}; expected {", ".join(FLOATS)}. '
            'Quantised weights cannot be converted: use the float16 checkpoint.'
        )
    layers = _count(moves, r'model\.layers\.(\d+)\.')
    wanted = [f'model.layers.{k}.{name}' for k in range(layers) for name in _LAYER]
    wanted += [_EMBED, 'model.norm.weight', _HEAD]
    if not (partial and not projector_depth(moves)):
        wanted += _projector_names(moves)
    if has_tower(moves):
        blocks = _count(moves, re.escape(TOWER) + r'encoder\.layers\.(\d+)\.')
        wanted += [f'{TOWER}encoder.layers.{k}.{name}' for k in range(blocks) for name in _BLOCK]
        wanted += [TOWER + name for name in _TOWER]
    missing = [name for name in wanted if name not in moves]
    if missing:
        raise CheckpointError(
            f'{path} lacks {preview(missing)}: {len(missing)} of the {len(wanted)} tensors that a '
            f'LLaVA of {layers} layers has. The checkpoint is incomplete; download it again.'
            f'{ADVICE * (_HEAD in missing)}'
        )
    _check_shapes(moves, path)
    _check_config(moves, config, layers, path)


def _projector_names(moves: Mapping[str, TensorPlan]) -> list[str]:
    depth = projector_depth(moves)
    if 'model.mm_projector.weight' in moves or depth < 2:
        numbers = ['']
    else:
        numbers = [f'{2 * k}.' for k in range(depth)]
    return [f'model.mm_projector.{n}{what}' for n in numbers for what in ('weight', 'bias')]


def _count(moves: Mapping[str, TensorPlan], pattern: str) -> int:
    """Layers: one more than the highest number."""
    found = [int(match[1]) for name in moves if (match := re.match(pattern, name))]
    return max(found, default=0) + 1


def _check_shapes(moves: Mapping[str, TensorPlan], path: Path) -> None:
    """Refuses parts of different widths."""
    matrices = [_EMBED, _HEAD, *(n for n in moves if re.search(r'(proj|fc\d)\.weight$', n))]
    matrices += [n for n in moves if re.fullmatch(r'model\.mm_projector\.(\d+\.)?weight', n)]
    for name in matrices:
        if len(moves[name].shape) != 2:
            raise _wrong(path, moves[name], 'two dimensions')
    rows, hidden = moves[_EMBED].shape
    if moves[_HEAD].shape != (rows, hidden):
        raise _wrong(path, moves[_HEAD], f'{[rows, hidden]}, as {_EMBED}')
    kinds: dict[str, TensorPlan] = {}
    for name, move in moves.items():  # the same part of every layer has the same shape
        kind = re.sub(r'layers\.\d+\.', 'layers.N.', name)
        first = kinds.setdefault(kind, move)
        if move.shape != first.shape:
            raise _wrong(path, move, f'{list(first.shape)}, as {first.name}')
        if name.endswith('.bias') and move.shape != moves[f'{name[:-4]}weight'].shape[:1]:
            raise _wrong(path, move, f'the rows of {name[:-4]}weight')
        ends = ('norm.weight', 'layernorm.weight', 'image_newline')
        if name.endswith(ends) and TOWER not in name and move.shape != (hidden,):
            raise _wrong(path, move, f'[{hidden}], the width of {_EMBED}')
        if name.startswith('model.layers.') and len(move.shape) == 2:
            inner = name.endswith(('o_proj.weight', 'down_proj.weight'))
            if move.shape[0 if inner else 1] != hidden:
                raise _wrong(path, move, f'{hidden} {"rows" if inner else "columns"}')
    projector = [moves[n] for n in _projector_names(moves)[::2] if n in moves]
    for below, above in itertools.pairwise(projector):
        if above.shape[1] != below.shape[0]:
            raise _wrong(path, above, f'{below.shape[0]} columns, the rows of {below.name}')
    if projector and projector[-1].shape[0] != hidden:
        raise _wrong(path, projector[-1], f'{hidden} rows, the width of the language model')
    if has_tower(moves):
        width = _check_tower(moves, path)
        if projector and projector[0].shape[1] != width:
            raise _wrong(path, projector[0], f'{width} columns, the width of the vision tower')


def _check_tower(moves: Mapping[str, TensorPlan], path: Path) -> int:
    """Refuses a tower of parts of different widths; gives its width."""
    first = moves[f'{TOWER}embeddings.class_embedding']
    width = first.shape[-1] if first.shape else 0
    patches = moves[f'{TOWER}embeddings.patch_embedding.weight']
    side = patches.shape[-1] if patches.shape else 0
    if patches.shape != (width, 3, side, side) or not side:
        raise _wrong(path, patches, f'[{width}, 3, N, N] with N above 0, as {first.name}')
    for name, move in moves.items():
        if not name.startswith(TOWER):
            continue
        if name.endswith('position_embedding.weight'):
            count = max(move.shape[0] - 1, 0) if move.shape else 0  # without the class token
            if move.shape[1:] != (width,) or not count or math.isqrt(count) ** 2 != count:
                raise _wrong(path, move, f'[N * N + 1, {width}], as {first.name} is {width} wide')
        if 'norm' in name and move.shape != (width,):
            raise _wrong(path, move, f'[{width}], as {first.name}')
    return width


def _wrong(path: Path, move: TensorPlan, expected: str) -> CheckpointError:
    return CheckpointError(
        f'{path}: {move.name} is {list(move.shape)}; expected {expected}. The checkpoint is '
        'damaged, or parts of two models are mixed in it.'
    )


def _check_config(
    moves: Mapping[str, TensorPlan], config: Mapping[str, Any], layers: int, path: Path
) -> None:
    """Refuses a config that tells of another model than the tensors."""
    rows, hidden = moves[_EMBED].shape
    depth = projector_depth(moves)
    found: dict[str, Any] = dict(
        hidden_size=hidden, num_hidden_layers=layers, vocab_size=rows,
        intermediate_size=moves['model.layers.0.mlp.up_proj.weight'].shape[0],
    )  # fmt: skip
    if depth in _TYPES:
        found['mm_projector_type'] = _TYPES[depth]
        first = 'model.mm_projector.weight' if depth == 1 else 'model.mm_projector.0.weight'
        found['mm_hidden_size'] = moves[first].shape[1]
    wrong = {k: v for k, v in found.items() if config.get(k) is not None and config[k] != v}
    if wrong:
        stored = {key: config[key] for key in wrong}
        raise CheckpointError(
            f'the config of {path} says {stored}, its tensors {wrong}. Two versions are mixed '
            'there; put the config that belongs to the weights beside them.'
        )
    newline = 'model.image_newline' in moves
    unpads = 'unpad' in str(config.get('mm_patch_merge_type', ''))
    if config and depth and newline != unpads:
        raise CheckpointError(
            f'{path} {"has" if newline else "lacks"} model.image_newline, but its config says '
            f'mm_patch_merge_type {config.get("mm_patch_merge_type")!r}; v1.6 has both, with '
            'spatial_unpad, and others neither. Put the config that belongs to the weights there.'
        )
