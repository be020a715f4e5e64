"""Floor 2. A checkpoint that holds only what training changed, beside the base it changed.

Such a folder has ``model.safetensors`` (trained tensors, in the original's names),
``base.json`` and, after LoRA, ``adapter_model.safetensors`` in PEFT's names.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmllava.checkpoints import TensorEntry, map_tensor, read_entries
from mmllava.checkpoints.reader import read_json
from mmllava.errors import CheckpointError

BASE_FILE = 'base.json'
ADAPTER_FILE = 'adapter_model.safetensors'
ADAPTER_PREFIX = 'base_model.model.'  # PEFT's, before the language model's own names
_SAMPLE = 4096  # bytes of each tensor that a fingerprint reads


@dataclass(frozen=True)
class Changes:
    """What ``base.json`` says, and the adapter's tensors."""

    base: str
    fingerprint: str
    scale: float = 1.0
    adapter: Mapping[str, TensorEntry] = field(default_factory=dict)

    def check_base(self, entries: Mapping[str, TensorEntry], source: Any) -> None:
        """Refuses a base that is not the one that was trained on.

        Raises:
            CheckpointError: names both.
        """
        found = fingerprint(entries)
        if found != self.fingerprint:
            raise CheckpointError(
                f'{source} is not the base that this checkpoint was trained on: its fingerprint '
                f'is {found}, expected {self.fingerprint} (of {self.base}). Name the right one '
                'in lang_encoder.pretrained.'
            )


def read_changes(path: str | Path) -> Changes | None:
    """What a checkpoint folder says of its base; None where it has no ``base.json``.

    Raises:
        CheckpointError: ``base.json`` or the adapter cannot be read.
    """
    file = Path(path) / BASE_FILE
    if not file.is_file():
        return None
    said = read_json(file)
    base, mark = said.get('base'), said.get('fingerprint')
    if not isinstance(base, str) or not isinstance(mark, str):
        raise CheckpointError(
            f'{file} lacks base or fingerprint, which say what was trained on. Write the '
            'checkpoint again.'
        )
    adapter = Path(path) / ADAPTER_FILE
    entries = read_entries(adapter) if adapter.is_file() else {}
    return Changes(base, mark, float(said.get('adapter_scale', 1.0)), entries)


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


def add_adapter(tensors: dict[str, Tensor], changes: Changes) -> None:
    """Adds ``scale * B @ A`` to the weights that LoRA changed, in place, in float32.

    Raises:
        CheckpointError: an adapter without its other half, or for a weight that is not there.
    """
    for name, entry in changes.adapter.items():
        if not name.endswith('.lora_A.weight'):
            continue
        target = name.removeprefix(ADAPTER_PREFIX).removesuffix('.lora_A.weight')
        target = f'language.lm.{target}.weight'
        other = name.replace('.lora_A.', '.lora_B.')
        if target not in tensors or other not in changes.adapter:
            raise CheckpointError(
                f'the adapter changes {target}, and the model or the adapter file lacks half of '
                'it. Use the config that it was trained with.'
            )
        down, up = _floats(entry), _floats(changes.adapter[other])
        weight = tensors[target]
        tensors[target] = (weight.float() + changes.scale * (up @ down)).to(weight.dtype)


def _floats(entry: TensorEntry) -> Tensor:
    tensor = torch.from_numpy(map_tensor(entry))
    return (tensor.view(torch.bfloat16) if entry.dtype == 'bfloat16' else tensor).float()
