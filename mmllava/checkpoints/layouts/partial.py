"""A checkpoint of tools/train.py that holds only what training changed.

Such a folder has ``model.safetensors`` (tensors trained whole, in the original's names),
``base.json`` and, after LoRA, ``adapter_model.safetensors`` in PEFT's names.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mmllava.checkpoints.layouts.keymaps import from_original, is_linear
from mmllava.checkpoints.layouts.tensor_plan import TensorPlan
from mmllava.checkpoints.layouts.validate import TOWER_END
from mmllava.checkpoints.storage.hub import is_hub_id
from mmllava.checkpoints.storage.reader import read_entries, read_json
from mmllava.checkpoints.storage.tensor_entry import TensorEntry
from mmllava.errors import CheckpointError

BASE_FILE = 'base.json'
ADAPTER_FILE, ADAPTER_CONFIG = 'adapter_model.safetensors', 'adapter_config.json'
ADAPTER_PREFIX = 'base_model.model.'  # PEFT's, before the language model's own names
_SAMPLE = 4096  # bytes of each tensor that a fingerprint reads


@dataclass(frozen=True)
class PartialCheckpoint:
    """The record of a checkpoint of trained tensors about its base.

    Args:
        folder: of the checkpoint.
        base: where the base was: a path, or a hub id.
        fingerprint: of the base's tensors.
        scale: of the adapter, as ``base.json`` has it.
        adapter: the adapter's tensors by PEFT's names; ``{}`` without one.
    """

    folder: Path
    base: str
    fingerprint: str
    scale: float
    adapter: Mapping[str, TensorEntry]

    def base_on_hub(self) -> str:
        """Returns the hub id of the base, to be fetched where none is named.

        Raises:
            CheckpointError: ``base.json`` names a path: a file that somebody sends must not
                have others read.
        """
        if not is_hub_id(self.base) or Path(self.base).exists():
            raise CheckpointError(
                f'{self.folder} holds changes to {self.base}, and a path that a file names is not '
                'followed. Name it yourself: --base FOLDER to convert or in demo/chat.py; '
                'lang_encoder=dict(pretrained=FOLDER) in a config or in get_model.'
            )
        return self.base

    def check_base(self, entries: Mapping[str, TensorEntry], source: str | Path) -> None:
        """Refuses a base that is not the one that was trained on.

        Args:
            entries: of the base, by the names of `Llava`, with a tied head.
            source: where they are, for the message.

        Raises:
            CheckpointError: names both.
        """
        found = fingerprint(entries)
        if found != self.fingerprint:
            raise CheckpointError(
                f'{source} is not the base that {self.folder} was trained on: its fingerprint is '
                f'{found}, expected {self.fingerprint} (of {self.base}). Name the right one: '
                '--base to convert; lang_encoder.pretrained in a config.'
            )


def read_partial(folder: str | Path) -> PartialCheckpoint | None:
    """Reads what a checkpoint folder records about its base; None without a ``base.json``.

    Raises:
        CheckpointError: it names no base, or the adapter or its settings cannot be read.
    """
    folder = Path(folder)
    file = folder / BASE_FILE
    if not file.is_file():
        return None
    record = read_json(file)
    base, mark, scale = (record.get(k) for k in ('base', 'fingerprint', 'adapter_scale'))
    if not isinstance(base, str) or not isinstance(mark, str):
        raise CheckpointError(
            f'{file} lacks base or fingerprint, which say what was trained on. Write the '
            'checkpoint again.'
        )
    adapter, settings = folder / ADAPTER_FILE, folder / ADAPTER_CONFIG
    if settings.is_file() and not adapter.is_file():
        raise CheckpointError(
            f'{folder} has {ADAPTER_CONFIG} and lacks {ADAPTER_FILE}, the adapters that it '
            'speaks of. Copy the whole folder again.'
        )
    entries = read_entries(adapter) if adapter.is_file() else {}
    scale = scale if isinstance(scale, (int, float)) else 1.0
    return PartialCheckpoint(folder, base, mark, float(scale), entries)


def named_entries(plans: Mapping[str, TensorPlan]) -> dict[str, TensorEntry]:
    """Lists a plain model's tensors by the parameter names of `Llava`, as fingerprints take them.

    Args:
        plans: by the original's names, each of one tensor on disk.
    """
    read = {name: plan for name, plan in plans.items() if name not in TOWER_END}
    return own_entries({name: plan.sources[0] for name, plan in read.items()})


def own_entries(entries: Mapping[str, TensorEntry]) -> dict[str, TensorEntry]:
    """Renames tensors from the original's names to those of `Llava`; unknown names stay."""
    linear = is_linear(entries)
    return {from_original(name, 'mmllava', linear) or name: e for name, e in entries.items()}


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
