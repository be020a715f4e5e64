"""Floor 2. A checkpoint's tensors into a model, mapped from disk, all or nothing."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from mmllava.checkpoints import TensorEntry, map_tensor, read_entries
from mmllava.checkpoints.fetch import fetch
from mmllava.checkpoints.keymaps import to_model_names
from mmllava.errors import CheckpointError
from mmllava.models.checks import check_not_delta

_NAMED = 5  # how many tensors an error names before it only counts them


def load_checkpoint(model: nn.Module, path: str | Path, dtype: torch.dtype | None) -> None:
    """Gives a model, built on the meta device or not, the weights of a checkpoint.

    Tensors are mapped, not read: until they are used they take no memory, and
    one that must change its dtype is copied alone.

    Args:
        model: a `Llava`.
        path: ``.pth``, ``.bin`` or ``.safetensors`` file, or a folder with an
            index, in the original layout. If it has no vision tower, the tower
            comes from ``model.vision_tower.pretrained``.
        dtype: of every weight; None keeps each as it is in its file.

    Raises:
        CheckpointError: tensors are missing, unexpected, or of another shape
            than the model's; or the file cannot be read or trusted.
    """
    found = _entries(path, 'original')
    if not any(name.startswith('vision_tower.') for name in found):
        found |= _tower_entries(model, path)
    _check_fit(model, found, path)
    check_not_delta(found, path)
    tensors = {name: to_tensor(found[name], dtype) for name, _ in model.named_parameters()}
    model.load_state_dict(tensors, assign=True, strict=True)


def to_tensor(entry: TensorEntry, dtype: torch.dtype | None = None) -> Tensor:
    """A tensor over the mapped bytes of its file; a copy only if the dtype changes."""
    tensor = torch.from_numpy(map_tensor(entry))
    if entry.dtype == 'bfloat16':
        tensor = tensor.view(torch.bfloat16)
    return tensor.to(dtype or tensor.dtype)


def _entries(path: str | Path, layout: str) -> dict[str, TensorEntry]:
    entries = read_entries(path)
    return {ours: entries[name] for ours, name in to_model_names(entries, layout).items()}


def _tower_entries(model: nn.Module, path: str | Path) -> dict[str, TensorEntry]:
    source = model.vision_tower.pretrained
    if source is None:
        raise CheckpointError(
            f'{path} has no vision tower, and the config names none. Set '
            'vision_encoder.pretrained to a CLIP folder or hub id.'
        )
    found = _entries(fetch(source), 'clip')
    return {name: entry for name, entry in found.items() if name.startswith('vision_tower.')}


def _check_fit(model: nn.Module, found: Mapping[str, TensorEntry], path: str | Path) -> None:
    """Refuses a checkpoint that does not fit, naming the first few tensors of each kind."""
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    wrong = [
        f'{name} is {found[name].shape} in the file and {shape} in the model'
        for name, shape in shapes.items()
        if name in found and found[name].shape != shape
    ]
    problems = [
        _some('missing', (name for name in shapes if name not in found)),
        _some('unexpected', (found[name].name for name in found if name not in shapes)),
        _some('of another shape', wrong),
    ]
    problems = [problem for problem in problems if problem]
    if problems:
        raise CheckpointError(
            f'{path} does not fit the config: {"; ".join(problems)}. Use the config of this '
            'checkpoint, or the checkpoint of this config.'
        )


def _some(what: str, names: Iterable[str]) -> str:
    names = list(names)
    if not names:
        return ''
    shown = ', '.join(names[:_NAMED]) + (', ...' if len(names) > _NAMED else '')
    return f'{len(names)} tensors {what} ({shown})'
