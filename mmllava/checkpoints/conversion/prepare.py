"""Plans a conversion between any two layouts, from headers alone.

conversion = prepare_conversion('llava-v1.5-7b', 'hf', tower='clip-vit-large-patch14-336')
write_conversion(conversion, 'llava-v1.5-7b-hf')
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmllava.checkpoints.conversion.sidecar_files import files_beside
from mmllava.checkpoints.layouts import llava_files
from mmllava.checkpoints.layouts.config_schema import read_config
from mmllava.checkpoints.layouts.delta import plan_tower
from mmllava.checkpoints.layouts.from_canonical import from_canonical
from mmllava.checkpoints.layouts.identify import ON_A_BASE
from mmllava.checkpoints.layouts.keymaps import TOWER
from mmllava.checkpoints.layouts.partial import read_partial
from mmllava.checkpoints.layouts.tensor_plan import FLOATS, TensorPlan, disk_order
from mmllava.checkpoints.layouts.to_canonical import Model, Source, open_source, to_canonical
from mmllava.checkpoints.layouts.validate import TOWER_END, check_model, has_tower
from mmllava.checkpoints.storage.hub import fetch, is_hub_id, is_local
from mmllava.checkpoints.storage.reader import read_entries, readable
from mmllava.checkpoints.storage.tensor_entry import TensorEntry
from mmllava.errors import CheckpointError, unknown_name

#: Types that --dtype takes; None keeps each tensor as it is.
DTYPES = FLOATS[:3]
_WRAP = 'model.vision_tower.vision_tower.'  # before a CLIP's own names
# Of CLIP-L, which every released LLaVA sees with; its tensors do not tell the heads.
_CLIP_L = dict(num_attention_heads=16, hidden_act='quick_gelu', layer_norm_eps=1e-5)


@dataclass(frozen=True)
class Conversion:
    """A conversion that was checked and can be written.

    Args:
        layout: of the result.
        moves: what becomes of each tensor, in the order of writing; dropped ones last.
        sources: role (``source``, ``base``, ``tower``) -> where it lies here.
        described: role -> layout and reason, for people.
        files: what will lie beside the weights in a folder: name -> content.
        lacks: why a folder cannot be made of it; '' where it can.
        notes: what the user should know, one line each.
        stamps: file that holds a tensor -> its size, times and inode, when it was read.
    """

    layout: str
    moves: list[TensorPlan]
    sources: dict[str, Path]
    described: dict[str, str]
    files: dict[str, bytes]
    lacks: str = ''
    notes: list[str] = field(default_factory=list)
    stamps: dict[Path, tuple[int, ...]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, 'stamps', {file: stamp(file) for file in source_files(self)})

    @property
    def kept(self) -> list[TensorPlan]:
        """The moves that write a tensor."""
        return [move for move in self.moves if move.how != 'dropped']

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors of the result."""
        return sum(move.nbytes for move in self.moves)


def prepare_conversion(
    source: str | Path,
    to: str,
    base: str | Path | None = None,
    tower: str | Path | None = None,
    dtype: str | None = None,
    layout: str | None = None,
    base_layout: str | None = None,
) -> Conversion:
    """Reads headers and configs, and refuses what cannot be converted.

    Args:
        source: a hub id, a folder or a weight file, of any layout.
        to: a layout of ``outlet.TARGETS``.
        base: what a delta, a projector or an adapter belongs to; for ``to='delta'``
            LLaMA; for a bare file the LLaVA folder with its config and tokenizer.
        tower: a CLIP model whose vision half becomes part of the result. Where the source
            has a tower of its own, that stays, and only what it lacks is taken.
        dtype: of every tensor of the result; None keeps each as it is.
        layout, base_layout: override what the tensors of source and base tell.

    Raises:
        ConfigError: an unknown layout or type.
        CheckpointError: says what was found, what was expected and what to do.
    """
    if dtype not in (None, *DTYPES):
        raise unknown_name('dtype', str(dtype), DTYPES)
    with readable(source, base, tower):
        return _prepare(source, to, base, tower, dtype, layout, base_layout)


def prepare_merge(
    base: str | Path,
    delta: str | Path,
    tower: str | Path | None = None,
    to_folder: bool = True,
) -> Conversion:
    """Plans LLaMA + the published difference, and refuses what cannot be merged.

    Args:
        base: LLaMA: a hub id, a folder or a weight file.
        delta: the difference, likewise.
        tower: a CLIP model whose vision half becomes part of the result, likewise.
        to_folder: whether the result is to be a folder that needs nothing else. Then,
            where base or delta come from the hub, so does the tower that the delta names.

    Raises:
        CheckpointError: says what was found, what was expected and what to do.
    """
    from_hub = not (is_local(base) and is_local(delta))
    base, delta = fetch(base), fetch(delta)
    # v0's configs name no tower, and meant this one.
    named = read_config(delta).get('mm_vision_tower') or 'openai/clip-vit-large-patch14'
    if tower is None and to_folder and from_hub and is_hub_id(named):
        tower = named
    return prepare_conversion(delta, 'original', base, tower, layout='delta', base_layout='llama')


def _prepare(
    source: str | Path,
    to: str,
    base: str | Path | None,
    tower: str | Path | None,
    dtype: str | None,
    layout: str | None,
    base_layout: str | None,
) -> Conversion:
    """``prepare_conversion`` of arguments that are sound."""
    found = open_source(fetch(source), layout)
    if base is None and found.layout == 'partial':
        base = read_partial(found.folder).base_on_hub()
    below = None if base is None else open_source(fetch(base), base_layout)
    taken_by_result = to == 'delta' and found.layout not in ON_A_BASE
    model = to_canonical(found, None if taken_by_result else below)
    sources = {'source': found.path}
    described = {'source': f'{found.layout}: {found.reason}'}
    if below is not None:
        sources['base'] = below.path
        described['base'] = f'{below.layout}: {below.reason}'
    if tower is not None:
        sources['tower'] = fetch(tower)
        described['tower'] = 'clip'
    model, vision = _see(model, sources.get('tower'), found)
    check_model(model.kept, model.config, found.path)
    moves = from_canonical(model, to, below)
    if dtype is not None:
        if to == 'delta' and dtype != 'float16':
            raise CheckpointError(
                f'a delta is float16, as the published ones are; --dtype {dtype} would lose the '
                'sums. Leave it out.'
            )
        moves = [m if m.how == 'dropped' else replace(m, dtype=dtype) for m in moves]
    moves.sort(key=lambda move: (move.how == 'dropped', *disk_order(move)))
    files, lacks = files_beside(model, to, moves, vision, sources)
    notes = [*model.notes, *_notes(model, to)]
    return Conversion(to, moves, sources, described, files, lacks, notes)


def _see(model: Model, tower: Path | None, source: Source) -> tuple[Model, dict[str, Any] | None]:
    """Adds the tower, or what the model's own one lacks; gives its sizes where they are known."""
    kept = model.kept
    stored: dict[str, Any] = model.config.get('mm_vision_config') or {}
    shapes = _shapes(kept)
    if tower is not None:
        entries = read_entries(tower)
        added = plan_tower(entries)
        folder = tower if tower.is_dir() else tower.parent
        named = {move.name: move for move in added if move.how != 'dropped'}
        if shapes:
            vision = llava_files.tower_config(folder, shapes)
            _refuse_other_tower(kept, named, tower)
            added = [named[n] for n in TOWER_END if n in named and n not in kept]
            note = f'the vision tower is the one in {source.path}; of {tower} only the config '
            note += f'and {len(added)} tensors that it lacks are taken.'
            model = replace(model, notes=[*model.notes, note])
        else:
            vision = llava_files.tower_config(folder, _shapes(named))
            _refuse_other_width(kept, vision, tower, model.config)
        model = replace(model, moves=[*model.moves, *added])
    elif not shapes:
        return model, None
    elif stored or shapes['vision_model.embeddings.class_embedding'] == (1024,):
        vision = llava_files.describe_tower({**_CLIP_L, **stored}, shapes, source.path)
    else:
        return model, None
    if model.config:
        model = replace(model, config={**model.config, 'mm_vision_config': vision})
    return model, vision


def _shapes(moves: dict[str, TensorPlan]) -> dict[str, tuple[int, ...]]:
    """Shapes of the tower's tensors by CLIP's names."""
    return {n.removeprefix(_WRAP): m.shape for n, m in moves.items() if n.startswith(TOWER)}


def _refuse_other_width(
    kept: dict[str, TensorPlan], vision: dict[str, Any], tower: Path, config: dict[str, Any]
) -> None:
    projector = (m for n, m in kept.items() if n.startswith('model.mm_projector.'))
    first = next((m for m in projector if len(m.shape) == 2), None)
    if first is None:
        return  # `check_model` tells
    if first.shape[1] != vision['hidden_size']:
        raise CheckpointError(
            f'{first.name} takes {first.shape[1]} channels but the vision tower in {tower} gives '
            f'{vision["hidden_size"]}. Use the tower that the model was trained with'
            f' ({config.get("mm_vision_tower", "see its config")}).'
        )


def _refuse_other_tower(
    kept: dict[str, TensorPlan], named: dict[str, TensorPlan], tower: Path
) -> None:
    for name, move in named.items():
        if name in kept and kept[name].shape != move.shape:
            raise CheckpointError(
                f'{name} is {list(kept[name].shape)} in the source and {list(move.shape)} in '
                f'{tower}. Name the tower that the model was trained with, or leave out --tower.'
            )


def _notes(model: Model, to: str) -> list[str]:
    """Lists what a user should know about the result."""
    kept, named = model.kept, model.config.get('mm_vision_tower')
    if named and not has_tower(kept) and to in ('mmllava', 'original'):
        return [
            f'the vision tower {named} is not included and will be looked for when the model is '
            'loaded; add --tower with its folder or hub id to include it.'
        ]
    return []


def stamp(file: Path) -> tuple[int, ...]:
    """Returns what changes when a file is written or replaced: size, times, inode."""
    found = file.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def source_files(conversion: Conversion) -> dict[Path, str]:
    """Every file that holds a tensor of the plan -> the role of its source."""
    roles: dict[Path, str] = {}
    for move in conversion.moves:
        for entry in move.sources:
            roles.setdefault(entry.file, _role(entry, conversion.sources))
    return roles


def _role(entry: TensorEntry, sources: dict[str, Path]) -> str:
    """The role whose path is, or holds, the file."""
    return next(
        (role for role, path in sources.items() if path in (entry.file, entry.file.parent)),
        'source',
    )
