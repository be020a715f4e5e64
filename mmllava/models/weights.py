"""Loads a checkpoint's tensors into a model, mapped from disk, all or nothing.

The plan of each tensor is the one that a conversion would execute
(`mmllava.checkpoints.layouts.to_canonical`): a loaded model has the weights of the converted one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmllava.checkpoints.conversion.stream import compute
from mmllava.checkpoints.layouts.delta import plan_tower
from mmllava.checkpoints.layouts.from_canonical import from_canonical
from mmllava.checkpoints.layouts.identify import LAYOUTS, ON_A_BASE
from mmllava.checkpoints.layouts.keymaps import from_original
from mmllava.checkpoints.layouts.partial import read_partial
from mmllava.checkpoints.layouts.tensor_plan import FLOATS, TensorPlan
from mmllava.checkpoints.layouts.tied import ADVICE as TIED_ADVICE
from mmllava.checkpoints.layouts.to_canonical import Model, Source, open_source, to_canonical
from mmllava.checkpoints.layouts.validate import TOWER_END
from mmllava.checkpoints.storage.hub import fetch
from mmllava.checkpoints.storage.reader import read_entries, readable
from mmllava.checkpoints.storage.tensor_entry import TensorEntry, map_tensor
from mmllava.errors import CheckpointError
from mmllava.models.detect import ADVICE
from mmllava.models.hf_config import check_stored_config

_EMBED, _HEAD = 'language.lm.model.embed_tokens.weight', 'language.lm.lm_head.weight'
_SHOWN = 5  # tensors that an error names before it only counts them

Plans = dict[str, TensorPlan]


def load_checkpoint(
    model: nn.Module, path: str | Path, dtype: torch.dtype | None, for_training: bool = False
) -> Path | None:
    """Gives a model, built on the meta device or not, the weights of a checkpoint.

    Tensors that are as on disk are mapped, not read: until they are used they take no memory,
    and one that must change its dtype is copied alone. Sums (a delta on its base, an adapter)
    are computed, in memory.

    Args:
        model: a `Llava`.
        path: weight file or folder, of any layout but ``clip``. If it has no vision tower, the
            tower comes from ``model.vision_tower.pretrained``; what an adapter, a projector or
            a delta belongs to, from ``model.language.pretrained``.
        dtype: of every weight; None keeps each as the plan has it.
        for_training: training starts from it: v1.6's newline is randomly initialised where the
            checkpoint has none, and images may be seen otherwise than it did.

    Returns:
        The folder whose tokenizer belongs to the weights; None where there is none.

    Raises:
        CheckpointError: tensors are missing, unexpected, or of another shape
            than the model's; or a file cannot be read or trusted.
    """
    with readable(path, model.language.pretrained):
        source = open_source(path)
        base = open_base(find_base(model, source)) if source.layout in ON_A_BASE else None
        planned = to_canonical(source, base, partial=source.layout == 'llama')
    config = source.config if source.layout == 'projector' else planned.config
    check_stored_config(model, config, source.folder / 'config.json', for_training)
    plans = _plans(planned)
    if not any(name.startswith('vision_tower.') for name in plans):
        plans |= tower_plans(model, path)
    drawn = {}
    lacks = model.image_newline is not None and 'image_newline' not in plans
    if for_training and lacks and config.get('mm_patch_merge_type') != 'spatial_unpad':
        drawn['image_newline'] = _draw_newline(model)
        print_log('image_newline is randomly initialised', logger='current')
    _load(model, plans, drawn, dtype, path)
    # transformers' tokenizer has tokens beyond LLaVA's vocabulary: <image> and <pad>.
    return None if source.layout == 'hf' else planned.words


def load_start(model: nn.Module, dtype: torch.dtype | None) -> None:
    """Loads ``language.pretrained`` and the tower; initialises the projector randomly.

    A vocabulary that is larger than the language model's grows by embeddings that are the
    mean of the others, as the original's does.

    Args:
        model: a `Llava`.
        dtype: of every weight; None keeps each as it is in its file.

    Raises:
        CheckpointError: as `load_checkpoint`.
    """
    path = model.language.pretrained
    plans = _plans(plan_base(path))
    if not any(name.startswith('vision_tower.') for name in plans):
        plans |= tower_plans(model, path)
    size = model.language.config.vocab_size
    drawn = {
        name: _grow(_mapped(plans[name], dtype), size)
        for name in (_EMBED, _HEAD)
        if name in plans and plans[name].shape[0] < size
    }
    new = {} if any(name.startswith('projector.') for name in plans) else _draw_projector(model)
    _load(model, plans, {**drawn, **new}, dtype, path)
    if new:
        print_log('the projector is randomly initialised', logger='current')


def find_base(model: nn.Module, source: Source) -> str | Path:
    """Finds what a checkpoint belongs to: the config names it, or ``base.json`` a hub id.

    A path in ``base.json`` is followed only if the config names the same: a file that
    somebody sends must not have others read.

    Raises:
        CheckpointError: nothing names it, or ``base.json`` alone names a path.
    """
    if model.language.pretrained:
        return model.language.pretrained
    if source.layout != 'partial':
        raise CheckpointError(
            f'{source.path} is {LAYOUTS[source.layout]}: {source.reason} It needs the model that '
            'it belongs to: lang_encoder=dict(pretrained=FOLDER) in the config or in get_model. '
            f'Or write both as one. {ADVICE[source.layout]}.'
        )
    partial = read_partial(source.folder)
    named = (model.init_cfg or {}).get('checkpoint')
    if named and Path(named).expanduser().resolve() == Path(partial.base):
        return named
    return partial.base_on_hub()


def open_base(path: str | Path) -> Source:
    """Opens a language model, or a LLaVA, that something is put onto.

    Raises:
        CheckpointError: it needs a base itself.
    """
    source = open_source(fetch(path))
    if source.layout in ON_A_BASE:
        raise CheckpointError(
            f'{source.path} is {LAYOUTS[source.layout]}: {source.reason} Expected a language '
            f'model or a LLaVA. {ADVICE[source.layout]}.'
        )
    return source


def plan_base(path: str | Path) -> Model:
    """Plans what `open_base` opens.

    Raises:
        CheckpointError: it needs a base itself, or is incomplete.
    """
    with readable(path):
        return to_canonical(open_base(path), partial=True)


def tower_plans(model: nn.Module, path: str | Path) -> Plans:
    """Plans the vision tower that the config names.

    Args:
        model: a `Llava`.
        path: of the checkpoint that has none, for the message.

    Raises:
        CheckpointError: the config names none, or what it names has no tower of CLIP.
    """
    source = model.vision_tower.pretrained
    if source is None:
        raise CheckpointError(
            f'{path} has no vision tower, and the config names none. Set '
            'vision_encoder.pretrained to a CLIP folder or hub id.'
        )
    return _plans(Model(plan_tower(read_entries(fetch(source))), {}, None))


def to_tensor(entry: TensorEntry, dtype: torch.dtype | None = None) -> Tensor:
    """Maps a tensor's bytes in its file; copies them only if the dtype changes."""
    tensor = torch.from_numpy(map_tensor(entry))
    if entry.dtype == 'bfloat16':
        tensor = tensor.view(torch.bfloat16)
    return tensor.to(dtype or tensor.dtype)


def _plans(planned: Model) -> Plans:
    """The plans by the parameter names of `Llava`, without what it does not read."""
    unread = {from_original(name, 'mmllava') for name in TOWER_END}
    kept = (plan for plan in from_canonical(planned, 'mmllava') if plan.how != 'dropped')
    return {plan.name: plan for plan in kept if plan.name not in unread}


def _load(
    model: nn.Module,
    plans: Plans,
    drawn: Mapping[str, Tensor],
    dtype: torch.dtype | None,
    path: str | Path,
) -> None:
    """Puts planned tensors into the model, and ties its head where the plan's is tied."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    _check_fit({n: tuple(p.shape) for n, p in parameters.items()}, plans, path, drawn)
    tied = plans[_HEAD].parts == plans[_EMBED].parts
    needed = {n: plan for n, plan in plans.items() if n not in drawn and not (tied and n == _HEAD)}
    tensors = {**_tensors(needed, dtype), **drawn}
    if tied:
        tensors[_HEAD] = tensors[_EMBED]
    lm = model.language.lm
    if lm.lm_head.weight is lm.model.embed_tokens.weight:  # of the checkpoint before
        lm.lm_head.weight = nn.Parameter(lm.lm_head.weight.detach())
    model.load_state_dict(tensors, assign=True, strict=True)
    if tied:
        lm.lm_head.weight = lm.model.embed_tokens.weight
    lm.config.tie_word_embeddings = tied


def _tensors(plans: Plans, dtype: torch.dtype | None) -> dict[str, Tensor]:
    """Maps what lies on disk and computes the rest, each value rounded once."""
    mapped = {name: _mapped(plan, dtype) for name, plan in plans.items() if _is_mapped(plan)}
    computed = [plan for plan in plans.values() if not _is_mapped(plan)]
    if dtype is not None:
        computed = [replace(p, dtype=str(dtype).removeprefix('torch.')) for p in computed]
    results = {p.name: torch.empty(p.shape, dtype=getattr(torch, p.dtype)) for p in computed}
    at = dict.fromkeys(results, 0)
    for piece, values in compute(computed) if computed else ():
        name, raw = piece.move.name, values.view(np.uint8)
        flat = results[name].view(-1).view(torch.uint8).numpy()
        flat[at[name] : at[name] + len(raw)] = raw
        at[name] += len(raw)
    return {**mapped, **results}


def _is_mapped(plan: TensorPlan) -> bool:
    return len(plan.parts) == 1 and plan.parts[0].how == 'copy'


def _mapped(plan: TensorPlan, dtype: torch.dtype | None) -> Tensor:
    return to_tensor(plan.sources[0], dtype or getattr(torch, plan.dtype))


def _grow(embeddings: Tensor, size: int) -> Tensor:
    mean = embeddings.float().mean(0, keepdim=True).to(embeddings.dtype)
    return torch.cat([embeddings, mean.expand(size - len(embeddings), -1)])


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


def _check_fit(
    shapes: Mapping[str, tuple[int, ...]], plans: Plans, path: str | Path, drawn: Iterable[str]
) -> None:
    """Refuses a checkpoint that does not fit, naming the first few tensors of each problem.

    Args:
        shapes: of the model's parameters.
        plans: of the checkpoint.
        path: of it, for the message.
        drawn: parameters that come from elsewhere.
    """
    needed = {name: shape for name, shape in shapes.items() if name not in drawn}
    wrong = [
        f'{name} is {plans[name].shape} in the file and {shape} in the model'
        for name, shape in needed.items()
        if name in plans and plans[name].shape != shape
    ]
    quantized = [
        f'{plan.sources[0].name} is {plan.dtype}'
        for plan in plans.values()
        if plan.dtype not in FLOATS
    ]
    problems = [
        _some('missing', (name for name in needed if name not in plans)),
        _some('unexpected', (p.sources[0].name for n, p in plans.items() if n not in shapes)),
        _some('of another shape', wrong),
        _some('of another type than floating point', quantized),
    ]
    problems = [problem for problem in problems if problem]
    if problems:
        raise CheckpointError(
            f'{path} does not fit the config: {"; ".join(problems)}. Use the config of this '
            'checkpoint, or the checkpoint of this config.'
            f'{TIED_ADVICE * (_HEAD in needed and _HEAD not in plans)}'
        )


def _some(what: str, names: Iterable[str]) -> str:
    names = list(names)
    if not names:
        return ''
    shown = ', '.join(names[:_SHOWN]) + (', ...' if len(names) > _SHOWN else '')
    return f'{len(names)} tensors {what} ({shown})'
