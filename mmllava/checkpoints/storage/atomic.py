"""A file or folder appears whole at its name, or not at all."""

import itertools
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmllava.checkpoints.storage import lock
from mmllava.errors import CheckpointError


def journal_of(part: Path) -> Path:
    """Returns the path of the journal of an unfinished result."""
    return part.with_name(f'{part.name}.journal')


@contextmanager
def atomic_output(
    destination: Path,
    needed_bytes: int,
    may_replace: Callable[[Path], None] | None,
    can_resume: Callable[[Path], bool] | None = None,
) -> Iterator[Path]:
    """Gives a temporary path beside the destination and renames it when all went well.

    Args:
        destination: the file or folder to appear.
        needed_bytes: disk space that it will take.
        may_replace: looks at what is there already and raises if it must stay;
            None where nothing may be replaced. An empty folder never counts.
        can_resume: tells whether what a killed run left can be gone on with; None where
            nothing is.

    Yields:
        a path that does not exist; the caller makes a file or a folder of it. Or, where
        ``can_resume`` said so, what the killed run left.

    Raises:
        CheckpointError: if something is there already, if its folder is missing, if the disk
            has too little room, or if what is to be gone on with belongs to a run that is
            still at work. Nothing is left behind then, nor after any other error or a Ctrl-C.
    """
    destination = Path(os.path.realpath(destination))
    _recover(destination)
    if can_resume:
        refuse_busy(destination)
    left = next((p for p in leftovers(destination) if can_resume and can_resume(p)), None)
    there = sum(file.stat().st_size for file in _files(left) if file.is_file()) if left else 0
    check_destination(destination, needed_bytes - there, may_replace)
    with _claimed(destination, left) as part:
        try:
            yield part
            for file in _files(part):
                _flush(file)
            check_destination(destination, 0, may_replace)  # hours later; others write here too
            _swap_in(part, destination)
        finally:
            _remove(part)
            _remove(journal_of(part))


@contextmanager
def _claimed(destination: Path, left: Path | None) -> Iterator[Path]:
    """Gives what a killed run left, or a name that nobody has, locked meanwhile."""
    part, handle = (left, lock.take(_lock_of(left))) if left else _new_part(destination)
    if handle is None:
        raise _busy(part)
    try:
        yield part
    finally:
        _lock_of(part).unlink(missing_ok=True)
        os.close(handle)


def _new_part(destination: Path) -> tuple[Path, int]:
    """A name of our own, and the handle of its lock; what killed runs left keeps its name."""
    for number in itertools.count(os.getpid()):
        part = destination.with_name(f'.{destination.name}.part-{number}')
        if not any(path.exists() for path in (part, _old_of(part), journal_of(part))):
            with suppress(FileExistsError):
                return part, lock.make(_lock_of(part))
    raise AssertionError('numbers have no end')


def check_destination(
    destination: Path, needed_bytes: int, may_replace: Callable[[Path], None] | None
) -> None:
    """Raises what ``atomic_output`` would raise before it begins; writes nothing."""
    if not destination.parent.is_dir():
        raise CheckpointError(
            f'the folder {destination.parent} does not exist, so {destination.name} cannot be '
            'written there. Make the folder or name another.'
        )
    if destination.exists() and not _is_empty_folder(destination):
        if may_replace is None:
            raise CheckpointError(
                f'{destination} exists already. Name another destination, or add --overwrite '
                'to replace it once the new one is complete.'
            )
        may_replace(destination)
    free = shutil.disk_usage(destination.parent).free
    if free < needed_bytes:
        raise CheckpointError(
            f'{destination.parent} has {free / 1e9:.2f} GB free but {destination.name} needs '
            f'{needed_bytes / 1e9:.2f} GB. Free some, or name a destination on another disk.'
            + ''.join(
                f' An earlier run that was killed left {path}, which may be deleted.'
                for path in _remains(destination)
            )
        )


def _swap_in(part: Path, destination: Path) -> None:
    """Renames; what was there is deleted only after the new one is in place.

    A file replaces a file in one step. No system does that for folders: there the old
    one is renamed first, and back if anything, Ctrl-C included, comes between.
    """
    if part.is_file() and not destination.is_dir():
        os.replace(part, destination)
        _flush(destination.parent)
        return
    old = _old_of(part)
    if destination.exists():
        _remove(old)  # of the killed run whose part this is
    try:
        if destination.exists():
            os.rename(destination, old)
        os.rename(part, destination)
    except BaseException:
        if part.exists() and old.exists() and not destination.exists():
            os.rename(old, destination)
        elif not part.exists():
            _remove(old)
        raise
    try:
        _flush(destination.parent)
    finally:
        _remove(old)


def _recover(destination: Path) -> None:
    """Renames an earlier result back that a kill between the two renames of ``_swap_in`` left."""
    old = [path for path in _remains(destination) if _kind(path) == 'old']
    if old and not destination.exists():
        os.rename(max(old, key=lambda path: path.stat().st_mtime), destination)


def leftovers(destination: Path) -> list[Path]:
    """Unfinished results that killed runs left beside the destination, the newest first."""
    found = [path for path in _remains(destination) if _kind(path) == 'part']
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def refuse_busy(destination: Path) -> None:
    """Refuses to go on where a run that may be gone on with is still at work.

    Raises:
        CheckpointError: names what it writes.
    """
    for path in _beside(destination):
        if _kind(path) == 'part' and not is_over(path):
            raise _busy(path)


def _busy(part: Path) -> CheckpointError:
    return CheckpointError(
        f'{part} belongs to a run that is still at work, so it is not gone on with. Wait for that '
        'run, or end it and give --resume again. Some disks cannot tell: if you know that there '
        f'is no such run, delete {_lock_of(part).name} beside it.'
    )


def _remains(destination: Path) -> list[Path]:
    """Leftovers of finished or killed runs next to the destination."""
    return [path for path in _beside(destination) if is_over(path)]


def _beside(destination: Path) -> list[Path]:
    """Lists every run's unfinished or earlier results next to the destination."""
    if not destination.parent.is_dir():
        return []
    name = re.compile(rf'\.{re.escape(destination.name)}\.(part|old)-[0-9]+')
    return sorted(path for path in destination.parent.iterdir() if name.fullmatch(path.name))


def is_over(path: Path) -> bool:
    """Tells that the run that made ``.NAME.KIND-NUMBER`` is over; False where nothing tells."""
    return lock.is_free(_lock_of(path))


def _lock_of(path: Path) -> Path:
    """The file that a run has locked while it works on ``.NAME.part-NUMBER``."""
    return _sibling(path, 'lock')


def _old_of(part: Path) -> Path:
    """Names the path of an earlier result while a folder takes its place."""
    return _sibling(part, 'old')


def _sibling(path: Path, kind: str) -> Path:
    head, _, number = path.name.rpartition('-')
    return path.with_name(f'{head.rpartition(".")[0]}.{kind}-{number}')


def _kind(path: Path) -> str:
    """``part`` or ``old``, of ``.NAME.KIND-NUMBER``."""
    return path.name.rpartition('-')[0].rpartition('.')[2]


def _files(part: Path) -> Iterator[Path]:
    """Lists what must reach the disk: the files, then the folder that lists them."""
    if part.is_dir():
        yield from sorted(part.iterdir())
    yield part


def _flush(path: Path) -> None:
    """Waits until a file or a folder's list is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _remove(path: Path) -> None:
    """Deletes what this process put there; nothing there is fine."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
