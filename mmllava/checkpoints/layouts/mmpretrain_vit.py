"""CLIP's vision tower in the names of mmpretrain's VisionTransformer, there and back.

Query, key and value are one matrix there, and the class token and the positions have further
dimensions of size one. What lies after the last block is not there: LLaVA never reads it.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mmllava.checkpoints.layouts.keymaps import TOWER
from mmllava.checkpoints.layouts.tensor_plan import (
    TensorPlan,
    entry_rows,
    join,
    passthrough,
    preview,
)
from mmllava.checkpoints.layouts.validate import TOWER_END
from mmllava.checkpoints.storage.tensor_entry import TensorEntry
from mmllava.errors import CheckpointError

_PREFIX = 'model.vision_tower.'
_TOP = {  # theirs -> CLIP's
    'cls_token': 'embeddings.class_embedding',
    'pos_embed': 'embeddings.position_embedding.weight',
    'patch_embed.projection.weight': 'embeddings.patch_embedding.weight',
    'pre_norm.weight': 'pre_layrnorm.weight',
    'pre_norm.bias': 'pre_layrnorm.bias',
}
_BLOCK = {
    'ln1': 'layer_norm1',
    'ln2': 'layer_norm2',
    'attn.proj': 'self_attn.out_proj',
    'ffn.layers.0.0': 'mlp.fc1',
    'ffn.layers.1': 'mlp.fc2',
}
_JOINED = ('q', 'k', 'v')


def is_tower(name: str) -> bool:
    """Tells the tower's tensors from the others of mmpretrain's Llava."""
    return name.startswith(_PREFIX)


def to_canonical(entries: Mapping[str, TensorEntry], path: Path) -> list[TensorPlan]:
    """Moves from mmpretrain's names to the original's.

    Raises:
        CheckpointError: a tensor that this tower does not have.
    """
    moves, unknown = [], []
    for name, entry in entries.items():
        bare = name.removeprefix(_PREFIX)
        block = re.fullmatch(r'layers\.(\d+)\.(.+)\.(weight|bias)', bare)
        at = block and f'{TOWER}encoder.layers.{block[1]}.'
        if bare in _TOP:
            lead = dict(cls_token=2, pos_embed=1).get(bare, 0)  # (1, 1, D) and (1, N, D)
            if entry.shape[:lead] != (1,) * lead:
                raise CheckpointError(
                    f'{name} in {path} is {list(entry.shape)}, expected {lead} dimension(s) of 1 '
                    "in front. Name a checkpoint of mmpretrain's Llava."
                )
            shape = entry.shape[lead:]
            moves.append(passthrough(TOWER + _TOP[bare], replace(entry, shape=shape)))
        elif block and block[2] in _BLOCK:
            moves.append(passthrough(f'{at}{_BLOCK[block[2]]}.{block[3]}', entry))
        elif block and block[2] == 'attn.qkv' and entry.shape[0] % 3 == 0:
            size = entry.shape[0] // 3
            for k, letter in enumerate(_JOINED):
                third = entry_rows(entry, k * size, (k + 1) * size)
                moves.append(passthrough(f'{at}self_attn.{letter}_proj.{block[3]}', third))
        else:
            unknown.append(name)
    if unknown:
        raise CheckpointError(
            f"{path} holds {preview(unknown)}, which mmpretrain's ViT of CLIP does not have. Name "
            "a checkpoint of mmpretrain's Llava."
        )
    return moves


def from_canonical(moves: Mapping[str, TensorPlan]) -> tuple[list[TensorPlan], list[TensorPlan]]:
    """Moves of the tower under mmpretrain's names, and those that it has no place for.

    Args:
        moves: by the original's names; others than the tower's are passed over.
    """
    found, left = [], []
    block = {v: k for k, v in _BLOCK.items()}
    top = {TOWER + v: k for k, v in _TOP.items()}
    for name, move in moves.items():
        if not name.startswith(TOWER):
            continue
        inner = re.fullmatch(re.escape(TOWER) + r'encoder\.layers\.(\d+)\.(.+)\.(\w+)', name)
        if name in TOWER_END:
            left.append(move)
        elif name in top:
            lead = {'cls_token': (1, 1), 'pos_embed': (1,)}.get(top[name], ())
            found.append(replace(move, name=_PREFIX + top[name], shape=(*lead, *move.shape)))
        elif inner[2] in block:
            target = f'{_PREFIX}layers.{inner[1]}.{block[inner[2]]}.{inner[3]}'
            found.append(replace(move, name=target))
        elif inner[2] == 'self_attn.q_proj':
            names = [name.replace('q_proj', f'{letter}_proj') for letter in _JOINED]
            parts = join(tuple(part for n in names for part in moves[n].parts))
            shape = (3 * move.shape[0], *move.shape[1:])
            target = f'{_PREFIX}layers.{inner[1]}.attn.qkv.{inner[3]}'
            found.append(TensorPlan(target, 'joined', move.dtype, shape, parts))
    return found, left
