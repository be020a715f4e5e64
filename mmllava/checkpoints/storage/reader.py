"""A weight file, or a folder of them -> where each tensor lies. Headers only."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmllava.checkpoints.storage.safetensors_file import (
    begins_as_safetensors,
    no_doubles,
    read_safetensors,
)
from mmllava.checkpoints.storage.tensor_entry import TensorEntry, map_tensor
from mmllava.checkpoints.storage.torch_file import read_torch
from mmllava.errors import CheckpointError, MMLlavaError

__all__ = [
    'TensorEntry',
    'map_tensor',
    'read_entries',
    'read_json',
    'readable',
    'weight_files',
]

# In order of preference. Whatever else lies there (training_args.bin, optimizer.pt,
# the mm_projector.bin that repeats a tensor of the shards) is not a model's weights.
SINGLES = ('model.safetensors', 'pytorch_model.bin')
INDEXES = tuple(f'{name}.index.json' for name in SINGLES)
_SHARD = re.compile(r'(model|pytorch_model)-\d+-of-\d+\.(safetensors|bin)')


def read_entries(path: str | Path) -> dict[str, TensorEntry]:
    """Reads where each tensor of a checkpoint lies; no tensor is read.

    Args:
        path: a ``.safetensors`` file; a PyTorch file (``.bin``, ``.pth``, ``.pt``);
            or a folder with ``model.safetensors`` or ``pytorch_model.bin``, whole
            or in shards with an index. Where a folder has both, safetensors is read.

    Returns:
        name -> entry.

    Raises:
        CheckpointError: if a file is missing, cut short, damaged, no weight file or
            holds code, or if an index and its shards disagree.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(
            f'{path} does not exist; expected a weight file or a folder with one. '
            'Check the path, and that the download is complete.'
        )
    if not path.is_dir():
        return _read_file(path)
    for single in SINGLES:
        if (path / f'{single}.index.json').is_file():
            return _read_shards(path, path / f'{single}.index.json')
        if (path / single).is_file():
            return _read_file(path / single)
    shards = sorted(f.name for f in path.iterdir() if _SHARD.fullmatch(f.name))
    if shards:
        raise CheckpointError(
            f'{path} has {shards[0]} but no index ({" or ".join(INDEXES)}) that says which '
            'shards there are. Download the index that belongs to them.'
        )
    raise CheckpointError(
        f'{path} has no weights: expected {", ".join(SINGLES)}, or shards with '
        f'{" or ".join(INDEXES)}. Name the folder that holds them.'
    )


def weight_files(path: str | Path) -> list[Path]:
    """The files that hold the tensors of ``read_entries(path)``, sorted."""
    return sorted({entry.file for entry in read_entries(path).values()})


def read_json(file: Path) -> dict[str, Any]:
    """Reads a JSON file that holds an object.

    Raises:
        CheckpointError: if it is something else, and what.
    """
    try:
        text = file.read_text(encoding='utf-8')
        made = json.loads(text, object_pairs_hook=no_doubles)
    except (ValueError, RecursionError) as error:
        _refuse_pointer(file)
        raise CheckpointError(
            f'{file} is not readable JSON: {error}. Download or write it again.'
        ) from error
    if not isinstance(made, dict):
        raise CheckpointError(f'{file} holds a {type(made).__name__}, expected a JSON object.')
    return made


@contextmanager
def readable(*paths: str | Path | None) -> Iterator[None]:
    """Turns what a file beside the weights breaks (a list for a number, ...) into a refusal."""
    try:
        yield
    except MMLlavaError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        where = ', '.join(str(path) for path in paths if path is not None)
        raise CheckpointError(
            f'{where}: a config, a tokenizer file or the shape of a tensor is of a kind that it '
            f'cannot have ({type(error).__name__}: {error}). Download these files again.'
        ) from error


def _read_file(file: Path) -> dict[str, TensorEntry]:
    """Reads one file in the format that its first bytes show; its name counts only without any.

    safetensors first: its first eight bytes are a number, and may look like anything.
    """
    with open(file, 'rb') as handle:
        first = handle.read(9)
    if not first:
        raise CheckpointError(f'{file} is empty (0 bytes). Download or copy it again.')
    _refuse_pointer(file)
    if begins_as_safetensors(first):
        return read_safetensors(file)
    if first[:4] == b'PK\x03\x04':
        return read_torch(file)
    if _begins_as_pickle(first):
        raise CheckpointError(
            f'{file} is a bare pickle: PyTorch wrote these before 1.6, and reading one means '
            'running it. If you trust it, load and save it once with a PyTorch of 1.6 or '
            'later, or as safetensors.'
        )
    if file.suffix == '.safetensors':
        return read_safetensors(file)
    raise CheckpointError(
        f'{file} begins with {first[:8]!r}: neither a safetensors nor a PyTorch file. '
        'Name a weight file, or download it again.'
    )


def _begins_as_pickle(first: bytes) -> bool:
    """Tells a pickle of protocol 2 to 5: PROTO, its number, an opcode; none of those is 0."""
    return first[:1] == b'\x80' and first[1:2] in (b'\2', b'\3', b'\4', b'\5') and any(first[2:3])


def _refuse_pointer(file: Path) -> None:
    """Names a Git-LFS pointer: a short text that was committed in the file's place."""
    with open(file, 'rb') as handle:
        text = handle.read(400)
    if text.startswith(b'version https://git-lfs'):
        size = re.search(rb'size (\d+)', text)
        expected = f' of {int(size[1]):,} bytes' if size else ''
        raise CheckpointError(
            f'{file} is a Git-LFS pointer, not the file{expected} that it points to. '
            'Run `git lfs pull` in its folder, or download it again.'
        )


def _read_shards(folder: Path, index: Path) -> dict[str, TensorEntry]:
    """Reads the shards that an index names; each must hold what the index says."""
    weight_map = read_json(index).get('weight_map')
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f'{index} has no weight_map. Download or write it again.')
    expected: dict[str, set[str]] = {}
    for name, shard in weight_map.items():
        if not _is_plain_name(shard):
            raise CheckpointError(
                f'{index} places {name} in {shard!r}; expected the plain name of a file in '
                f'{folder}. Do not use a checkpoint that points outside its folder.'
            )
        expected.setdefault(shard, set()).add(name)
    missing = [shard for shard in sorted(expected) if not (folder / shard).is_file()]
    if missing:
        raise CheckpointError(
            f'{folder} lacks {", ".join(missing)}: {len(missing)} of the {len(expected)} shards '
            f'that {index.name} names. Download the missing ones.'
        )
    found: dict[str, TensorEntry] = {}
    for shard, names in sorted(expected.items()):
        held = _read_file(folder / shard)
        _compare(folder / shard, index.name, names, set(held))
        found.update(held)
    return {name: found[name] for name in weight_map}


def _is_plain_name(name: Any) -> bool:
    """Tells the name of a file from a path that leads elsewhere."""
    return (
        isinstance(name, str)
        and name not in ('', '..')
        and name == Path(name).name
        and ('\\' not in name)
        and len(name.encode('utf-8', 'replace')) < 256  # no disk has longer ones
    )


def _compare(shard: Path, index: str, expected: set[str], held: set[str]) -> None:
    """Refuses a shard that holds other tensors than the index says."""
    for names, what in (
        (expected - held, f'lacks what {index} places there'),
        (held - expected, f'holds what {index} does not place there'),
    ):
        if names:
            first = ', '.join(sorted(names)[:3]) + (', ...' if len(names) > 3 else '')
            raise CheckpointError(
                f'{shard} {what}: {len(names)} tensors ({first}). Index and shards come from '
                'different downloads; get them together again.'
            )
