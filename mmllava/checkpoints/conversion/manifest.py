"""Writes and checks the manifest of a conversion: sources, results and their checksums.

In a folder it is ``manifest.json``; a ``.pth`` or ``.bin`` has it inside, since two files
cannot appear in one step. It holds no time and no path: the same conversion gives the same one.
"""

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmllava.checkpoints.layouts.identify import weights_of
from mmllava.checkpoints.layouts.tensor_plan import TensorPlan
from mmllava.checkpoints.storage.checksums import sha256_of
from mmllava.checkpoints.storage.reader import read_entries, read_json
from mmllava.checkpoints.storage.torch_file import read_member
from mmllava.errors import CheckpointError
from mmllava.version import __version__

MANIFEST = 'manifest.json'


class ChangedError(CheckpointError):
    """A checkpoint is not what its manifest says."""


def make_manifest(
    layout: str,
    moves: list[TensorPlan],
    digests: list[str],
    places: Mapping[str, str],
    sources: list[dict[str, Any]],
    files: Mapping[str, bytes],
) -> dict[str, Any]:
    """Puts a manifest together.

    Args:
        layout: of the result.
        moves: of the plan, dropped ones too.
        digests: SHA-256 of each tensor that is kept, in order.
        places: tensor name -> file name.
        sources: role, file name, bytes and SHA-256 of each source file.
        files: what lies beside the weights.
    """
    kept = [move for move in moves if move.how != 'dropped']
    return dict(
        tool=f'mmllava {__version__}',
        layout=layout,
        dtypes=sorted({move.dtype for move in kept}),
        sources=sources,
        tensors={
            move.name: dict(
                file=places[move.name], dtype=move.dtype, shape=list(move.shape), how=move.how,
                sha256=digest,
            )
            for move, digest in zip(kept, digests, strict=True)
        },
        dropped=sorted(move.name for move in moves if move.how == 'dropped'),
        files={name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())},
    )  # fmt: skip


def read_manifest(path: str | Path) -> dict[str, Any]:
    """Reads the manifest of a folder or file that a conversion wrote.

    Raises:
        CheckpointError: if there is none, or it is not one.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f'{path} does not exist; expected a checkpoint. Check the path.')
    if path.is_dir():
        found = read_json(path / MANIFEST) if (path / MANIFEST).is_file() else None
    else:
        found = _inside(path)
    if found is None:
        raise CheckpointError(
            f'{path} has no {MANIFEST}, so it was not written by tools/convert.py. Compare it '
            'with another checkpoint by --against.'
        )
    tensors = found.get('tensors') if isinstance(found, dict) else None
    if not isinstance(tensors, dict) or not all(
        isinstance(t, dict) and isinstance(t.get('sha256'), str) for t in tensors.values()
    ):
        raise CheckpointError(f'{MANIFEST} of {path} names no tensors. Convert the model again.')
    if not isinstance(found.get('files', {}), dict):
        raise CheckpointError(
            f'{MANIFEST} of {path} has a {type(found["files"]).__name__} for its files; expected '
            'a sum for each. Convert the model again.'
        )
    return found


def _inside(file: Path) -> dict[str, Any] | None:
    """The manifest inside a PyTorch file."""
    try:
        text = read_member(file, MANIFEST)
        return None if text is None else json.loads(text)
    except (zipfile.BadZipFile, ValueError, RecursionError) as error:
        raise CheckpointError(
            f'the {MANIFEST} in {file} cannot be read: {error}. Convert the model again.'
        ) from error


def verify(path: str | Path, progress: Callable[[int], None] = lambda _: None) -> dict[str, Any]:
    """Counts every tensor's and file's SHA-256 again and compares with the manifest.

    Returns:
        ``tensors``, ``files`` and ``bytes`` that were compared.

    Raises:
        ChangedError: names what differs, is missing or is too much.
        CheckpointError: it cannot be read, or has no manifest.
    """
    path = Path(path)
    manifest = read_manifest(path)
    expected, entries = manifest['tensors'], read_entries(weights_of(path))
    for names, what in (
        (sorted(expected.keys() - entries.keys()), 'lacks'),
        (sorted(entries.keys() - expected.keys()), 'holds, and its manifest does not name,'),
    ):
        if names:
            raise ChangedError(
                f'{path} {what} {len(names)} tensors, first {names[0]}. Convert the model again.'
            )
    for name, entry in entries.items():
        recorded = (expected[name].get('dtype'), expected[name].get('shape'))
        same = recorded == (entry.dtype, list(entry.shape))
        if (
            not same
            or sha256_of(entry.file, entry.offset, entry.nbytes) != expected[name]['sha256']
        ):
            raise ChangedError(
                f'{name} in {entry.file} is not what was written there: its SHA-256, type or shape '
                'differs from the manifest. The file was changed or damaged; convert again.'
            )
        progress(entry.nbytes)
    for name, digest in manifest.get('files', {}).items():
        file = path / Path(name).name
        if not file.is_file() or sha256_of(file) != digest:
            raise ChangedError(
                f'{file} is not what was written there. It was changed or damaged; convert again, '
                'or compare by --against if the change is meant.'
            )
    total = sum(entry.nbytes for entry in entries.values())
    return dict(tensors=len(entries), files=len(manifest.get('files', {})), bytes=total)
