"""A checkpoint of tools/train.py that holds only what training changed.

Such a folder has ``model.safetensors`` (tensors trained whole, in the original's names),
``base.json`` and, after LoRA, ``adapter_model.safetensors`` in PEFT's names.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from mmllava.checkpoints.layouts.config_schema import read_config
from mmllava.checkpoints.layouts.keymaps import to_model_names
from mmllava.checkpoints.layouts.tied import tie_head
from mmllava.checkpoints.storage.hub import is_hub_id
from mmllava.checkpoints.storage.reader import read_entries, read_json
from mmllava.checkpoints.storage.tensor_entry import TensorEntry
from mmllava.errors import CheckpointError

BASE_FILE = 'base.json'
ADAPTER_FILE = 'adapter_model.safetensors'
_SAMPLE = 4096  # bytes of each tensor that a fingerprint reads


def read_base(folder: Path) -> tuple[str, str]:
    """Reads ``base.json``: (location of the base, its fingerprint).

    Raises:
        CheckpointError: it says neither.
    """
    file = folder / BASE_FILE
    said = read_json(file)
    base, mark = said.get('base'), said.get('fingerprint')
    if not isinstance(base, str) or not isinstance(mark, str):
        raise CheckpointError(
            f'{file} lacks base or fingerprint, which say what was trained on. Write the '
            'checkpoint again.'
        )
    return base, mark


def base_on_hub(folder: Path) -> str:
    """The hub id of the base, to be fetched where none is named.

    Raises:
        CheckpointError: ``base.json`` names a path: a file that somebody sends must not have
            others read.
    """
    base, _ = read_base(folder)
    if not is_hub_id(base) or Path(base).exists():
        raise CheckpointError(
            f'{folder} holds changes to {base}, and a path that a file names is not followed. '
            'Name it yourself: --base FOLDER.'
        )
    return base


def check_base(folder: Path, path: Path) -> None:
    """Refuses a base that is not the one that was trained on.

    Raises:
        CheckpointError: names both.
    """
    base, mark = read_base(folder)
    entries = read_entries(path)
    names = to_model_names(entries, 'original')
    named = {ours: entries[name] for ours, name in names.items()}
    found = fingerprint(tie_head(named, read_config(path), 'mmllava'))
    if found != mark:
        raise CheckpointError(
            f'{path} is not the base that {folder} was trained on: its fingerprint is {found}, '
            f'expected {mark} (of {base}). Name the right one by --base.'
        )


def fingerprint(entries: Mapping[str, TensorEntry]) -> str:
    """16 hex digits for tensors: their names, shapes, dtypes and first 4 KB each."""
    digest = hashlib.sha256()
    for name in sorted(entries):
        entry = entries[name]
        digest.update(f'{name} {entry.dtype} {tuple(entry.shape)}\n'.encode())
        with open(entry.file, 'rb') as handle:
            handle.seek(entry.offset)
            digest.update(handle.read(min(_SAMPLE, entry.nbytes)))
    return digest.hexdigest()[:16]
