"""A checkpoint's tensors into a model, mapped from disk, all or nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmllava.checkpoints import TensorEntry, map_tensor
from mmllava.checkpoints.conversion.stream import compute
from mmllava.checkpoints.layouts.delta import is_difference
from mmllava.checkpoints.layouts.keymaps import from_original, to_original
from mmllava.checkpoints.layouts.lora import merge_adapter
from mmllava.checkpoints.layouts.partial import (
    PartialCheckpoint,
    fingerprint,
    read_named,
    read_partial,
)
from mmllava.checkpoints.layouts.tensor_plan import passthrough
from mmllava.checkpoints.layouts.tied import ADVICE
from mmllava.checkpoints.layouts.to_canonical import Source
from mmllava.checkpoints.storage.hub import fetch
from mmllava.checkpoints.storage.reader import read_json
from mmllava.errors import CheckpointError
from mmllava.models.hf_config import find_checkpoint

_EMBED, _HEAD = 'language.lm.model.embed_tokens.weight', 'language.lm.lm_head.weight'
_NAMED = 5  # how many tensors an error names before it only counts them


def load_checkpoint(
    model: nn.Module, path: str | Path, dtype: torch.dtype | None, begins: bool = False
) -> None:
    """Gives a model, built on the meta device or not, the weights of a checkpoint.

    Tensors are mapped, not read: until they are used they take no memory, and
    one that must change its dtype is copied alone.

    Args:
        model: a `Llava`.
        path: ``.pth``, ``.bin`` or ``.safetensors`` file, or a folder with an
            index, in the original layout. If it has no vision tower, the tower
            comes from ``model.vision_tower.pretrained``; if it lacks some of the
            language model, that comes from ``model.language.pretrained``, or from
            where the checkpoint itself says that training began.
        dtype: of every weight; None keeps each as it is in its file.
        begins: training begins with it: v1.6's newline is drawn where it has none.

    Raises:
        CheckpointError: tensors are missing, unexpected, or of another shape
            than the model's; or the file cannot be read or trusted.
    """
    _untie(model)
    partial = read_partial(path)
    found = read_named(path, 'original')
    if any(n not in found for n, _ in model.named_parameters() if n.startswith('language.')):
        found = _base_entries(model, partial) | found
    if not any(name.startswith('vision_tower.') for name in found):
        found |= _tower_entries(model, path)
    new = {}
    lacks = model.image_newline is not None and 'image_newline' not in found
    if begins and lacks and not _knows_tiles(Path(path)):
        new['image_newline'] = _draw_newline(model)
        print_log('the newline between rows of tiles begins at random', logger='current')
    _check_fit(model, found, path, new)
    check_not_delta(found, path)
    merged = _merge_adapter(found, partial, dtype) if partial and partial.adapter else {}
    tensors = {
        name: new[name] if name in new else merged.get(name, found[name])
        for name, _ in model.named_parameters()
    }
    tensors = {
        name: to_tensor(value, dtype) if isinstance(value, TensorEntry) else value
        for name, value in tensors.items()
    }
    model.load_state_dict(tensors, assign=True, strict=True)
    _tie(model, found)


def load_start(model: nn.Module, dtype: torch.dtype | None) -> None:
    """Weights to begin with: ``language.pretrained``, the tower's, a projector at random.

    A vocabulary that is larger than the language model's grows by rows that are the
    mean of the others, as the original's does.

    Args:
        model: a `Llava`.
        dtype: of every weight; None keeps each as it is in its file.

    Raises:
        CheckpointError: as `load_checkpoint`.
    """
    _untie(model)
    path = model.language.pretrained
    found = read_named(fetch(path), 'original')
    check_not_delta(found, path)
    if not any(name.startswith('vision_tower.') for name in found):
        found |= _tower_entries(model, path)
    grown = {
        name: _grow(to_tensor(found[name], dtype), model.language.config.vocab_size)
        for name in (_EMBED, _HEAD)
        if name in found and found[name].shape[0] < model.language.config.vocab_size
    }
    new = {} if any(name.startswith('projector.') for name in found) else _draw_projector(model)
    made = {**grown, **new}
    _check_fit(model, found, path, made)
    tensors = {
        name: made[name] if name in made else to_tensor(found[name], dtype)
        for name, _ in model.named_parameters()
    }
    model.load_state_dict(tensors, assign=True, strict=True)
    _tie(model, found)
    if new:
        print_log('the projector begins at random', logger='current')


def _tie(model: nn.Module, found: Mapping[str, TensorEntry]) -> None:
    """Makes head and embedding one parameter where a checkpoint's are one tensor."""
    if found[_HEAD] is found[_EMBED]:
        lm = model.language.lm
        lm.lm_head.weight = lm.model.embed_tokens.weight
        lm.config.tie_word_embeddings = True


def _untie(model: nn.Module) -> None:
    """Gives the head a parameter of its own: the checkpoint that comes may have one."""
    lm = model.language.lm
    if lm.lm_head.weight is lm.model.embed_tokens.weight:
        lm.lm_head.weight = nn.Parameter(lm.lm_head.weight.detach())
        lm.config.tie_word_embeddings = False


def check_not_delta(entries: Mapping[str, TensorEntry], path: str | Path) -> None:
    """Refuses weights that are a difference to LLaMA, not yet merged.

    A language model's last norm scales by about 1; a difference is near 0 there.

    Raises:
        CheckpointError: with the command that merges.
    """
    entry = entries.get('language.lm.model.norm.weight')
    if entry is None:
        return
    difference, size = is_difference(entry)
    if difference:
        raise CheckpointError(
            f'{path} looks like a delta: its last norm is {size:.3f} on average, and that of a '
            'model about 1. Merge it with LLaMA first: python '
            'tools/model_converters/llava-delta2mmpre.py BASE DELTA MERGED.'
        )


def _knows_tiles(path: Path) -> bool:
    """Whether a folder's ``config.json`` is of a model of tiles, which must have its newline."""
    file = path / 'config.json'
    return file.is_file() and read_json(file).get('mm_patch_merge_type') == 'spatial_unpad'


def _grow(rows: Tensor, count: int) -> Tensor:
    mean = rows.float().mean(0, keepdim=True).to(rows.dtype)
    return torch.cat([rows, mean.expand(count - len(rows), -1)])


def _draw_projector(model: nn.Module) -> dict[str, Tensor]:
    """New weights as PyTorch draws those of a linear layer; of the newline as LLaVA does."""
    drawn = {}
    for number, layer in enumerate(model.projector.layers):
        if isinstance(layer, nn.Linear):
            fresh = nn.Linear(layer.in_features, layer.out_features)
            drawn[f'projector.layers.{number}.weight'] = fresh.weight.detach()
            drawn[f'projector.layers.{number}.bias'] = fresh.bias.detach()
    if model.image_newline is not None:
        drawn['image_newline'] = _draw_newline(model)
    return drawn


def _draw_newline(model: nn.Module) -> Tensor:
    width = len(model.image_newline)
    return torch.randn(width) / width**0.5


def to_tensor(entry: TensorEntry, dtype: torch.dtype | None = None) -> Tensor:
    """A tensor over the mapped bytes of its file; a copy only if the dtype changes."""
    tensor = torch.from_numpy(map_tensor(entry))
    if entry.dtype == 'bfloat16':
        tensor = tensor.view(torch.bfloat16)
    return tensor.to(dtype or tensor.dtype)


def _merge_adapter(
    found: Mapping[str, TensorEntry], partial: PartialCheckpoint, dtype: torch.dtype | None
) -> dict[str, Tensor]:
    """Computes the weights that LoRA changed, as a conversion does, in the dtype of the model.

    Raises:
        CheckpointError: half an adapter, one of another base, or settings that are not merged.
    """
    source = Source(partial.folder, 'partial', '', partial.adapter, {})
    base = [passthrough(to_original(name, 'mmllava'), entry) for name, entry in found.items()]
    plans = [plan for plan in merge_adapter(source, {}, base, {})[0] if plan.how == 'lora']
    if dtype is not None:
        plans = [replace(plan, dtype=str(dtype).removeprefix('torch.')) for plan in plans]
    names = {plan.name: name for plan in plans for name in [from_original(plan.name, 'mmllava')]}
    tensors = {
        names[plan.name]: torch.empty(plan.shape, dtype=getattr(torch, plan.dtype))
        for plan in plans
    }
    for piece, values in compute(plans):
        flat = tensors[names[piece.move.name]].view(-1)[piece.start : piece.stop]
        flat.view(torch.uint8).numpy()[:] = values.view(np.uint8)
    return tensors


def _tower_entries(model: nn.Module, path: str | Path) -> dict[str, TensorEntry]:
    source = model.vision_tower.pretrained
    if source is None:
        raise CheckpointError(
            f'{path} has no vision tower, and the config names none. Set '
            'vision_encoder.pretrained to a CLIP folder or hub id.'
        )
    found = read_named(fetch(source), 'clip')
    return {name: entry for name, entry in found.items() if name.startswith('vision_tower.')}


def _base_of(model: nn.Module, partial: PartialCheckpoint | None) -> str | Path | None:
    """Where the language model is: as the config says, or the hub id in ``base.json``.

    A path in ``base.json`` is followed only if the config names the same: a file that
    somebody sends must not have others read.

    Raises:
        CheckpointError: it names a path that the config does not.
    """
    if model.language.pretrained or partial is None:
        return model.language.pretrained
    named = (model.init_cfg or {}).get('checkpoint')
    if named and Path(named).expanduser().resolve() == Path(partial.base):
        return named
    return partial.base_on_hub()


def _base_entries(model: nn.Module, partial: PartialCheckpoint | None) -> dict[str, TensorEntry]:
    """The language model that a checkpoint was trained on; none known is no tensor."""
    source = _base_of(model, partial)
    if not source:
        return {}
    base = read_named(fetch(source), 'original')
    if partial:
        partial.check_base(base, source)
    return base


def find_base(model: nn.Module) -> tuple[str | Path | None, dict[str, TensorEntry]]:
    """Where the language model that a training run began with is, and its tensors.

    Raises:
        CheckpointError: it began with a checkpoint that holds changes to the language
            model, which cannot be told from the new ones.
    """
    source = (model.init_cfg or {}).get('checkpoint')
    if source is None:
        source = model.language.pretrained
        return source, read_named(fetch(source), 'original') if source else {}
    path = find_checkpoint(source)
    found = read_named(path, 'original')
    partial = read_partial(path)
    if not any(name.startswith('language.') for name in found) and not (
        partial and partial.adapter
    ):
        source = _base_of(model, partial)
        return source, _base_entries(model, partial)
    if partial:
        raise CheckpointError(
            f'{source} holds changes to a language model, and what is trained on it now could not '
            'be told from them. Train the whole language model, or merge the checkpoint first.'
        )
    return source, found


def _check_fit(
    model: nn.Module,
    found: Mapping[str, TensorEntry],
    path: str | Path,
    made: Iterable[str] = (),
) -> None:
    """Refuses a checkpoint that does not fit, naming the first few tensors of each kind.

    Those in ``made`` come from elsewhere.
    """
    shapes = {n: tuple(p.shape) for n, p in model.named_parameters() if n not in set(made)}
    known = {name for name, _ in model.named_parameters()}
    wrong = [
        f'{name} is {found[name].shape} in the file and {shape} in the model'
        for name, shape in shapes.items()
        if name in found and found[name].shape != shape
    ]
    problems = [
        _some('missing', (name for name in shapes if name not in found)),
        _some('unexpected', (found[name].name for name in found if name not in known)),
        _some('of another shape', wrong),
    ]
    problems = [problem for problem in problems if problem]
    if problems:
        raise CheckpointError(
            f'{path} does not fit the config: {"; ".join(problems)}. Use the config of this '
            'checkpoint, or the checkpoint of this config.'
            f'{ADVICE * (_HEAD in shapes and _HEAD not in found)}'
        )


def _some(what: str, names: Iterable[str]) -> str:
    names = list(names)
    if not names:
        return ''
    shown = ', '.join(names[:_NAMED]) + (', ...' if len(names) > _NAMED else '')
    return f'{len(names)} tensors {what} ({shown})'


def tower_mark(model: nn.Module) -> str | None:
    """A fingerprint of the vision tower that training begins with; None if it is random."""
    source = (model.init_cfg or {}).get('checkpoint') or model.language.pretrained
    if source is None:
        return None
    path = find_checkpoint(source)
    found = read_named(path, 'original')
    own = {name: entry for name, entry in found.items() if name.startswith('vision_tower.')}
    return fingerprint(own or _tower_entries(model, path))


def weight_marks(model: nn.Module) -> dict[str, str | None]:
    """A fingerprint of the checkpoint that a `Llava` was given, of its tower if that is apart.

    The same for the same tensors wherever and in however many files they are; None
    where there is no checkpoint.
    """
    source = (model.init_cfg or {}).get('checkpoint')
    if source is None:
        return dict(checkpoint=None, tower=None)
    path = find_checkpoint(source)
    entries, partial = read_named(path, 'original'), read_partial(path)
    mark = fingerprint(entries)
    if partial:
        mark += f'+{partial.fingerprint}+{fingerprint(partial.adapter)}*{partial.scale:g}'
    own = any(name.startswith('vision_tower.') for name in entries)
    tower = None if own else fingerprint(_tower_entries(model, path))
    return dict(checkpoint=mark, tower=tower)
