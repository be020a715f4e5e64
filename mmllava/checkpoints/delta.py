"""Floor 1. LLaMA + the published difference = LLaVA, without ever holding a model.

merge = prepare_merge('huggyllama/llama-7b', 'liuhaotian/LLaVA-Lightning-7B-delta-v1-1')
write_merge(merge, 'llava-7b')
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmllava.checkpoints import sidecars
from mmllava.checkpoints.fetch import fetch, is_hub_id, is_local
from mmllava.checkpoints.fingerprint import check_configs, check_values, check_vocabulary
from mmllava.checkpoints.plan import EMBED, TOWER_SOURCE, WHOLE, Move, plan_merge, plan_tower
from mmllava.checkpoints.reader import INDEXES, read_config, read_entries, read_json
from mmllava.checkpoints.staging import check_destination, staged
from mmllava.checkpoints.stream import carry_out
from mmllava.checkpoints.torch_file import has_member
from mmllava.checkpoints.writer import SHARD_BYTES, SafetensorsSink, TorchSink
from mmllava.errors import CheckpointError
from mmllava.version import __version__

# In the index's metadata, or a member of the .pth: what has it was written here.
_MARK = 'merged_by'
_ROOM_BYTES = 16_000_000  # headers, configs, tokenizer: more than they take


@dataclass(frozen=True)
class Merge:
    """A merge that was checked and can be written.

    Args:
        moves: what becomes of each tensor.
        base, delta, tower: where the sources lie here.
        config, generation_config: of the result; ``{}`` where the delta is a bare file.
        notes: what the user should know, one line each.
    """

    moves: list[Move]
    base: Path
    delta: Path
    tower: Path | None
    config: dict[str, Any]
    generation_config: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    @property
    def kept(self) -> list[Move]:
        """The moves that write a tensor."""
        return [move for move in self.moves if move.how != 'dropped']

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors of the result."""
        return sum(move.nbytes for move in self.moves)


def is_file_destination(destination: str | Path) -> bool:
    """Tells a ``.pth`` file from a folder.

    Raises:
        CheckpointError: for the ending of another weight file; a folder of such a
            name would be a surprise.
    """
    suffix = Path(destination).suffix
    if suffix in ('.bin', '.pt', '.ckpt', '.safetensors'):
        raise CheckpointError(
            f'{destination} ends in {suffix}; a destination is a file that ends in .pth, or a '
            'folder (safetensors). Name one of the two.'
        )
    return suffix == '.pth'


def prepare_merge(
    base: str | Path,
    delta: str | Path,
    tower: str | Path | None = None,
    to_folder: bool = True,
) -> Merge:
    """Reads headers and configs, and refuses what cannot be merged.

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
    base_entries, delta_entries = read_entries(base), read_entries(delta)
    config = read_config(delta)
    check_configs(read_config(base), config)
    moves = plan_merge(base_entries, delta_entries)
    # A file's order spares the disk a search; an index lists names by the alphabet.
    moves.sort(key=lambda move: (str(move.sources[0].file), move.sources[0].offset))
    if delta.is_dir():
        check_vocabulary(base_entries, sidecars.vocabulary_size(delta))
    check_values(base_entries, delta_entries)
    rows = delta_entries[EMBED].shape[0]
    generation: dict[str, Any] = {}
    if config:
        ids = sidecars.special_ids(delta, rows)
        config = sidecars.merged_config(config, rows, ids)
        generation = sidecars.merged_generation_config(delta, ids)
    named = config.get('mm_vision_tower', '')
    if tower is None and to_folder and from_hub and is_hub_id(named):
        tower = named
    notes = []
    if tower is not None:
        tower = fetch(tower)
        config = _add_tower(moves, tower, config)
    elif named:
        notes.append(
            f'the vision tower {named} is not included and will be looked for when the model is '
            'loaded; add --tower with its folder or hub id to include it.'
        )
    return Merge(moves, base, delta, tower, config, generation, notes)


def write_merge(
    merge: Merge,
    destination: str | Path,
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda _: None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes a prepared merge; whole, or (on any error) not at all.

    Args:
        merge: what ``prepare_merge`` gave.
        destination: a file that ends in ``.pth``, or a folder.
        overwrite: replaces what an earlier merge wrote there, once the new one is
            complete. Anything else that lies there stays, and is an error.
        progress: called with the bytes written since the last call.
        shard_bytes: of one file in a folder.

    Raises:
        CheckpointError: if the destination is taken or too small, or the sum of two
            tensors is not finite.
        OSError: if the disk fails or fills up meanwhile.
    """
    destination = Path(destination)
    layout = [(move.name, move.dtype, move.shape) for move in merge.kept]
    mark = {_MARK: f'mmllava {__version__}'}
    if is_file_destination(destination):
        with staged(destination, *_demands(merge, destination, overwrite)) as part:
            carry_out(merge.kept, TorchSink(part, layout, mark), progress)
        return
    with staged(destination, *_demands(merge, destination, overwrite)) as part:
        carry_out(merge.kept, SafetensorsSink(part, layout, mark, shard_bytes), progress)
        sidecars.copy_files(merge.delta, sidecars.TOKENIZER_FILES, part)
        if merge.tower is not None:
            sidecars.copy_files(merge.tower, ('preprocessor_config.json',), part)
        _write_json(part / 'config.json', merge.config)
        _write_json(part / 'generation_config.json', merge.generation_config)


def check_write(merge: Merge, destination: str | Path, overwrite: bool = False) -> None:
    """Raises what ``write_merge`` would raise before it begins; writes nothing."""
    destination = Path(destination)
    check_destination(destination.resolve(), *_demands(merge, destination, overwrite))


def _demands(
    merge: Merge, destination: Path, overwrite: bool
) -> tuple[int, Callable[[Path], None] | None]:
    """Gives (bytes needed, the check of what may be replaced)."""
    sources = {entry.file.resolve() for move in merge.moves for entry in move.sources}
    sources |= {merge.base.resolve(), merge.delta.resolve()}
    here = destination.resolve()
    if any(here == source or here in source.parents for source in sources):
        raise CheckpointError(f'{destination} is where the sources lie. Name another destination.')
    replace = _may_replace_file
    if not is_file_destination(destination):
        _refuse_incomplete(merge.delta, merge.config)
        replace = _may_replace_folder
    return merge.nbytes + _ROOM_BYTES, replace if overwrite else None


def _may_replace_file(path: Path) -> None:
    """Refuses to replace a file that a merge did not write."""
    if not path.is_file():
        raise CheckpointError(f'{path} is a folder; it is not replaced. Name a file.')
    if not has_member(path, _MARK):
        raise CheckpointError(
            f'{path} ({path.stat().st_size:,} bytes) was not written by a merge: it has no mark '
            f'{_MARK}, so --overwrite does not replace it. Choose another name, or delete it '
            'yourself.'
        )


def _may_replace_folder(path: Path) -> None:
    """Refuses to replace a folder with anything in it that a merge did not write."""
    index = path / INDEXES[0]
    if not index.is_file() or _MARK not in read_json(index).get('metadata', {}):
        raise CheckpointError(
            f'{path} was not written by a merge, so --overwrite does not replace it. '
            'Name another destination, or delete it yourself.'
        )
    ours = {
        *read_json(index).get('weight_map', {}).values(),
        *sidecars.TOKENIZER_FILES,
        INDEXES[0],
        'config.json',
        'generation_config.json',
        'preprocessor_config.json',
    }
    others = sorted(file.name for file in path.iterdir() if file.name not in ours)
    if others:
        raise CheckpointError(
            f'{path} holds {others[0]}, which no merge wrote, so --overwrite does not replace '
            'it. Move that file away, or name another destination.'
        )


def _refuse_incomplete(delta: Path, config: dict[str, Any]) -> None:
    """Refuses a delta that cannot become a folder that needs nothing else."""
    if not config:
        raise CheckpointError(
            f'{delta} has no config.json, so a folder made of it could not be loaded. Name the '
            "delta's whole folder, or a destination that ends in .pth."
        )
    if not any((delta / name).is_file() for name in sidecars.TOKENIZER_FILES[:2]):
        raise CheckpointError(
            f'{delta} has no {" or ".join(sidecars.TOKENIZER_FILES[:2])}, so a folder made of it '
            'would have no tokenizer. Download it, or name a destination that ends in .pth.'
        )


def _add_tower(moves: list[Move], tower: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Appends the tower's tensors to the plan; gives the config that describes it."""
    entries = read_entries(tower)
    added = plan_tower(entries)
    vision = sidecars.tower_config(
        tower if tower.is_dir() else tower.parent,
        {name: entry.shape for name, entry in entries.items() if name.startswith(TOWER_SOURCE)},
    )
    first = next(m for m in moves if m.name.startswith(WHOLE) and len(m.shape) == 2)
    if first.shape[1] != vision['hidden_size']:
        raise CheckpointError(
            f'{first.name} takes {first.shape[1]} channels but the vision tower in {tower} gives '
            f'{vision["hidden_size"]}. Use the tower that the model was trained with'
            f' ({config.get("mm_vision_tower", "see its config")}).'
        )
    moves.extend(added)
    return {**config, 'mm_vision_config': vision} if config else config


def _write_json(file: Path, value: dict[str, Any]) -> None:
    file.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + '\n')
