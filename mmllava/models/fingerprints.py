"""Fingerprints of the weights that a model was given, and the base of a training run.

A fingerprint is the same for the same tensors wherever and in however many files they are.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from mmllava.checkpoints.layouts.identify import ON_A_BASE
from mmllava.checkpoints.layouts.partial import (
    fingerprint,
    named_entries,
    own_entries,
    read_partial,
)
from mmllava.checkpoints.layouts.to_canonical import open_source, to_canonical
from mmllava.checkpoints.storage.tensor_entry import TensorEntry
from mmllava.errors import CheckpointError
from mmllava.models import weights
from mmllava.models.hf_config import find_checkpoint


def find_base(model: nn.Module) -> tuple[str | Path | None, dict[str, TensorEntry]]:
    """Finds the language model that a training run started from, and its tensors.

    Raises:
        CheckpointError: it started from a checkpoint that holds changes to the language
            model, which cannot be separated from the new ones.
    """
    checkpoint = (model.init_cfg or {}).get('checkpoint')
    base = model.language.pretrained if checkpoint is None else checkpoint
    if base is None:
        return None, {}
    if checkpoint is not None:
        source = open_source(find_checkpoint(checkpoint))
        if source.layout in ON_A_BASE:
            own = own_entries(source.entries)
            partial = read_partial(source.folder) if source.layout == 'partial' else None
            changed = any(name.startswith('language.') for name in own)
            if changed or source.layout in ('lora', 'delta') or (partial and partial.adapter):
                raise CheckpointError(
                    f'{checkpoint} holds changes to a language model, and what is trained on it '
                    'now could not be told from them. Train the whole language model, or merge '
                    'the checkpoint first.'
                )
            base = weights.find_base(model, source)
    return base, named_entries(weights.plan_base(find_checkpoint(base)).kept)


def tower_mark(model: nn.Module) -> str | None:
    """Computes the fingerprint of the vision tower that training starts from; None if random."""
    source = (model.init_cfg or {}).get('checkpoint') or model.language.pretrained
    if source is None:
        return None
    path = find_checkpoint(source)
    entries = _entries(path)
    own = {name: entry for name, entry in entries.items() if name.startswith('vision_tower.')}
    return fingerprint(own or _tower(model, path))


def weight_marks(model: nn.Module) -> dict[str, str | None]:
    """Computes the fingerprints of the checkpoint that a `Llava` was given, and of its tower.

    None where there is no checkpoint, or where the tower is inside it.
    """
    checkpoint = (model.init_cfg or {}).get('checkpoint')
    if checkpoint is None:
        return dict(checkpoint=None, tower=None)
    path = find_checkpoint(checkpoint)
    source, entries, partial = open_source(path), _entries(path), read_partial(path)
    mark = fingerprint(entries)
    if partial:
        mark += f'+{partial.fingerprint}+{fingerprint(partial.adapter)}*{partial.scale:g}'
    elif source.layout in ('lora', 'delta'):
        base = weights.plan_base(weights.find_base(model, source))
        mark += f'+{fingerprint(named_entries(base.kept))}'
    own = any(name.startswith('vision_tower.') for name in entries)
    return dict(checkpoint=mark, tower=None if own else fingerprint(_tower(model, path)))


def _entries(path: Path) -> Mapping[str, TensorEntry]:
    """Lists a checkpoint's own tensors by the parameter names of `Llava`."""
    source = open_source(path)
    if source.layout in ON_A_BASE:
        return own_entries(source.entries)
    return named_entries(to_canonical(source, partial=source.layout == 'llama').kept)


def _tower(model: nn.Module, path: Path) -> dict[str, TensorEntry]:
    plans = weights.tower_plans(model, path)
    return {name: plan.sources[0] for name, plan in plans.items()}
