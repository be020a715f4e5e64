"""A checkpoint that holds only what training changed, beside the base it changed.

Such a folder has ``model.safetensors`` (trained tensors, in the original's names),
``base.json`` and, after LoRA, ``adapter_model.safetensors`` in PEFT's names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmllava.checkpoints import TensorEntry, map_tensor, read_entries
from mmllava.checkpoints.layouts.partial import ADAPTER_FILE, BASE_FILE, fingerprint, read_base
from mmllava.checkpoints.storage.reader import read_json
from mmllava.errors import CheckpointError

ADAPTER_PREFIX = 'base_model.model.'  # PEFT's, before the language model's own names


@dataclass(frozen=True)
class PartialCheckpoint:
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


def read_partial(path: str | Path) -> PartialCheckpoint | None:
    """What a checkpoint folder says of its base; None where it has no ``base.json``.

    Raises:
        CheckpointError: ``base.json`` or the adapter cannot be read.
    """
    file = Path(path) / BASE_FILE
    if not file.is_file():
        return None
    base, mark = read_base(Path(path))
    scale = read_json(file).get('adapter_scale', 1.0)
    adapter = Path(path) / ADAPTER_FILE
    entries = read_entries(adapter) if adapter.is_file() else {}
    return PartialCheckpoint(base, mark, float(scale), entries)


def add_adapter(tensors: dict[str, Tensor], partial: PartialCheckpoint) -> None:
    """Adds ``scale * B @ A`` to the weights that LoRA changed, in place, in float32.

    Raises:
        CheckpointError: an adapter without its other half, or for a weight that is not there.
    """
    for name, entry in partial.adapter.items():
        if not name.endswith('.lora_A.weight'):
            continue
        target = name.removeprefix(ADAPTER_PREFIX).removesuffix('.lora_A.weight')
        target = f'language.lm.{target}.weight'
        other = name.replace('.lora_A.', '.lora_B.')
        if target not in tensors or other not in partial.adapter:
            raise CheckpointError(
                f'the adapter changes {target}, and the model or the adapter file lacks half of '
                'it. Use the config that it was trained with.'
            )
        down, up = _floats(entry), _floats(partial.adapter[other])
        weight = tensors[target]
        tensors[target] = (weight.float() + partial.scale * (up @ down)).to(weight.dtype)


def _floats(entry: TensorEntry) -> Tensor:
    tensor = torch.from_numpy(map_tensor(entry))
    return (tensor.view(torch.bfloat16) if entry.dtype == 'bfloat16' else tensor).float()
