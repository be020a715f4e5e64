"""Writes a prepared conversion: whole, or not at all; and goes on after a kill."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmllava.checkpoints.conversion.journal import Journal, is_of, plan_sum
from mmllava.checkpoints.conversion.manifest import MANIFEST, make_manifest
from mmllava.checkpoints.conversion.prepare import Conversion, source_files, stamp
from mmllava.checkpoints.conversion.sidecar_files import NAMES
from mmllava.checkpoints.conversion.stream import execute
from mmllava.checkpoints.layouts.tensor_plan import TensorPlan
from mmllava.checkpoints.storage.atomic import (
    atomic_output,
    check_destination,
    leftovers,
    refuse_busy,
)
from mmllava.checkpoints.storage.checksums import CHUNK_BYTES, FileSums, sha256_of
from mmllava.checkpoints.storage.reader import INDEXES, read_json
from mmllava.checkpoints.storage.torch_file import has_member
from mmllava.checkpoints.storage.writer import SHARD_BYTES, SafetensorsSink, Sink, TorchSink
from mmllava.errors import CheckpointError
from mmllava.version import __version__

# In the index's metadata, or a member of the .pth: what has it was written here.
MARK = 'merged_by'
PROJECTOR = 'mm_projector.bin'
_ROOM_BYTES = 16_000_000  # headers, configs, tokenizer: more than they take


def is_file_destination(destination: str | Path, layout: str = 'original') -> bool:
    """Tells a ``.pth`` file from a folder; a projector may be a ``.bin`` too.

    Raises:
        CheckpointError: for the ending of another weight file, or a file for a layout that
            is a folder; a folder of such a name would be a surprise.
    """
    suffix = Path(destination).suffix
    if suffix == '.bin' and layout == 'projector':
        return True
    if suffix in ('.bin', '.pt', '.ckpt', '.safetensors'):
        raise CheckpointError(
            f'{destination} ends in {suffix}; a destination is a file that ends in .pth, or a '
            'folder (safetensors). Name one of the two.'
        )
    if suffix == '.pth' and layout == 'hf':
        raise CheckpointError(
            f"{destination} ends in .pth; transformers' layout is a folder with config and "
            'processor. Name a folder.'
        )
    return suffix == '.pth'


def write_conversion(
    conversion: Conversion,
    destination: str | Path,
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda _: None,
    shard_bytes: int = SHARD_BYTES,
    resume: bool = False,
) -> dict[str, Any]:
    """Writes a prepared conversion; whole, or (on any error) not at all.

    Args:
        conversion: what ``prepare_conversion`` gave.
        destination: a folder, or a file that ends in ``.pth``.
        overwrite: replaces what an earlier conversion wrote there, once the new one is
            complete. Anything else that lies there stays, and is an error.
        progress: called with the bytes written since the last call.
        shard_bytes: of one file in a folder.
        resume: goes on with what a killed run of the same conversion left, once its
            tensors were read again and are as they were written.

    Returns:
        the manifest, which is written too.

    Raises:
        CheckpointError: if the destination is taken or too small, a result is not finite, or
            what is to be gone on with belongs to a run that is still at work.
        OSError: if the disk fails or fills up meanwhile.
    """
    destination = Path(destination)
    to_file = is_file_destination(destination, conversion.layout)
    needed, replace = _demands(conversion, destination, overwrite)
    plan = plan_sum(conversion.kept, dict(file=to_file, shard_bytes=shard_bytes))
    can_resume = (lambda part: is_of(part, plan)) if resume else None
    with atomic_output(destination, needed, replace, can_resume) as part:
        journal = Journal(part, plan)
        try:
            return _write(conversion, part, to_file, progress, shard_bytes, journal)
        finally:
            journal.close()


def check_write(conversion: Conversion, destination: str | Path, overwrite: bool = False) -> None:
    """Raises what ``write_conversion`` would raise before it begins; writes nothing."""
    destination = Path(destination)
    check_destination(destination.resolve(), *_demands(conversion, destination, overwrite))


def find_leftover(destination: str | Path) -> Path | None:
    """Finds the newest leftover of a killed run next to the destination; None without one."""
    return next(iter(leftovers(Path(destination).resolve())), None)


def why_not_resumable(conversion: Conversion, destination: str | Path, shard_bytes: int) -> str:
    """Gives the reason why ``resume`` would begin anew; '' where it resumes.

    Raises:
        CheckpointError: the run that it would go on with is still at work.
    """
    refuse_busy(Path(destination).resolve())
    left = leftovers(Path(destination).resolve())
    if not left:
        return f'no killed run left anything beside {destination}'
    to_file = is_file_destination(destination, conversion.layout)
    plan = plan_sum(conversion.kept, dict(file=to_file, shard_bytes=shard_bytes))
    if any(is_of(part, plan) for part in left):
        return ''
    return (
        f'{left[0]} was begun with other settings, from files that changed since, or by another '
        'version; it stays, and may be deleted'
    )


def _write(
    conversion: Conversion,
    part: Path,
    to_file: bool,
    progress: Callable[[int], None],
    shard_bytes: int,
    journal: Journal,
) -> dict[str, Any]:
    """Writes the tensors, then what lies beside them."""
    moves = conversion.kept
    layout = [(move.name, move.dtype, move.shape) for move in moves]
    mark = {MARK: f'mmllava {__version__}'}
    sink: Sink
    if to_file:
        sink = TorchSink(part, layout, mark)
    elif conversion.layout == 'projector':
        part.mkdir(exist_ok=True)
        sink = TorchSink(part / PROJECTOR, layout, mark)
    else:
        sink = SafetensorsSink(part, layout, mark, shard_bytes)
    roles = source_files(conversion)
    sums = FileSums(roles)
    try:
        begin = _check_again(moves, sink, journal, progress)
        execute(moves, sink, progress, lambda _, digest: journal.add(digest), sums, begin)
        found = sums.finish()
        _check_unchanged(conversion)
        sources = [
            dict(role=role, file=file.name, bytes=file.stat().st_size, sha256=found[file])
            for file, role in sorted(roles.items(), key=lambda item: (item[1], str(item[0])))
        ]
        files = {} if to_file else conversion.files
        manifest = make_manifest(
            conversion.layout, conversion.moves, journal.done, sink.files, sources, files
        )
        text = json.dumps(manifest, indent=1) + '\n'
        if to_file:
            sink.attach(MANIFEST, text)
        sink.close()
    except BaseException:
        sink.abort()
        raise
    for name, data in {**files, **({} if to_file else {MANIFEST: text.encode()})}.items():
        (part / name).write_bytes(data)
    return manifest


def _check_unchanged(conversion: Conversion) -> None:
    """Refuses a result whose sources were written or replaced since their headers were read."""
    for file, before in conversion.stamps.items():
        if not file.is_file() or stamp(file) != before:
            raise CheckpointError(
                f'{file} changed while it was converted, so the result would mix two states of '
                'it; nothing was kept. Let its writer finish, and convert again.'
            )


def _check_again(
    moves: list[TensorPlan], sink: Sink, journal: Journal, progress: Callable[[int], None]
) -> int:
    """Reads again what a killed run wrote; gives the number of tensors that are right."""
    for index, digest in enumerate(journal.done):
        sink.begin(index)
        sink.flush()
        file, offset = sink.place()
        if sha256_of(file, offset, moves[index].nbytes) != digest:
            journal.cut(index)
            return index
        # Over itself, so that the sink has seen every byte.
        with open(file, 'rb', buffering=0) as handle:
            handle.seek(offset)
            left = moves[index].nbytes
            while left:
                data = handle.read(min(CHUNK_BYTES, left))
                sink.write(memoryview(data))
                left -= len(data)
                progress(len(data))
        sink.flush()
    return len(journal.done)


def _demands(
    conversion: Conversion, destination: Path, overwrite: bool
) -> tuple[int, Callable[[Path], None] | None]:
    """Gives (bytes needed, the check of what may be replaced)."""
    sources = {file.resolve() for file in source_files(conversion)}
    sources |= {path.resolve() for path in conversion.sources.values()}
    here = destination.resolve()
    if any(here == source or here in source.parents for source in sources):
        raise CheckpointError(f'{destination} is where the sources lie. Name another destination.')
    replace = _may_replace_file
    if not is_file_destination(destination, conversion.layout):
        if conversion.lacks:
            raise CheckpointError(conversion.lacks)
        replace = _may_replace_folder
    return conversion.nbytes + _ROOM_BYTES, replace if overwrite else None


def _may_replace_file(path: Path) -> None:
    """Refuses to replace a file that no conversion wrote."""
    if not path.is_file():
        raise CheckpointError(f'{path} is a folder; it is not replaced. Name a file.')
    if not has_member(path, MARK):
        raise CheckpointError(
            f'{path} ({path.stat().st_size:,} bytes) was not written by a merge or a conversion: '
            f'it has no mark {MARK}, so --overwrite does not replace it. Choose another name, or '
            'delete it yourself.'
        )


def _may_replace_folder(path: Path) -> None:
    """Refuses to replace a folder with anything in it that no conversion wrote."""
    index = path / INDEXES[0]
    stored = read_json(index) if index.is_file() else {}
    shards, marks = (
        value if isinstance(value := stored.get(key), dict) else {}
        for key in ('weight_map', 'metadata')
    )
    shards = [name for name in shards.values() if isinstance(name, str)]
    if has_member(path / PROJECTOR, MARK) if (path / PROJECTOR).is_file() else False:
        shards = [PROJECTOR]
    elif MARK not in marks:
        raise CheckpointError(
            f'{path} was not written by a merge or a conversion, so --overwrite does not replace '
            'it. Name another destination, or delete it yourself.'
        )
    ours = {*shards, *NAMES, INDEXES[0]}
    others = sorted(file.name for file in path.iterdir() if file.name not in ours)
    if others:
        raise CheckpointError(
            f'{path} holds {others[0]}, which no merge wrote and no conversion, so --overwrite '
            'does not replace it. Move that file away, or name another destination.'
        )
