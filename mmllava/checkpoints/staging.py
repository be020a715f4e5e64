"""Floor 1. A file or folder appears whole at its name, or not at all."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mmllava.checkpoints.journal import journal_of
from mmllava.errors import CheckpointError


@contextmanager
def staged(
    destination: Path,
    needed_bytes: int,
    may_replace: Callable[[Path], None] | None,
    goes_on: Callable[[Path], bool] | None = None,
) -> Iterator[Path]:
    """Gives a temporary path beside the destination and renames it when all went well.

    Args:
        destination: the file or folder to appear.
        needed_bytes: disk space that it will take.
        may_replace: looks at what is there already and raises if it must stay;
            None where nothing may be replaced. An empty folder never counts.
        goes_on: tells whether what a killed run left can be gone on with; None where
            nothing is.

    Yields:
        a path that does not exist; the caller makes a file or a folder of it. Or, where
        ``goes_on`` said so, what the killed run left.

    Raises:
        CheckpointError: if something is there already, if its folder is missing or
            if the disk has too little room. Nothing is left behind then, nor
            after any other error or a Ctrl-C.
    """
    destination = Path(os.path.realpath(destination))
    _give_back(destination)
    part = destination.with_name(f'.{destination.name}.part-{os.getpid()}')
    left = next((p for p in leftovers(destination) if goes_on and goes_on(p)), None)
    there = sum(file.stat().st_size for file in _files(left) if file.is_file()) if left else 0
    check_destination(destination, needed_bytes - there, may_replace)
    if left != part:  # a killed process may have had our number
        _remove_part(part)
    if left and left != part:
        os.rename(left, part)
        os.rename(journal_of(left), journal_of(part))
    try:
        yield part
        for file in _files(part):
            _flush(file)
        check_destination(destination, 0, may_replace)  # hours later; others write here too
        _put(part, destination)
    finally:
        _remove_part(part)


def check_destination(
    destination: Path, needed_bytes: int, may_replace: Callable[[Path], None] | None
) -> None:
    """Raises what ``staged`` would raise before it begins; writes nothing."""
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


def _put(part: Path, destination: Path) -> None:
    """Renames; what was there is deleted only after the new one is in place.

    A file replaces a file in one step. No system does that for folders: there the old
    one is renamed first, and back if anything, Ctrl-C included, comes between.
    """
    if part.is_file() and not destination.is_dir():
        os.replace(part, destination)
        _flush(destination.parent)
        return
    old = destination.with_name(f'.{destination.name}.old-{os.getpid()}')
    if destination.exists():
        _remove(old)  # of a killed process that had our number
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


def _give_back(destination: Path) -> None:
    """Renames an earlier result back that a kill between the two renames of ``_put`` left."""
    old = [path for path in _remains(destination) if path.name.rpartition('-')[0].endswith('.old')]
    if old and not destination.exists():
        os.rename(max(old, key=lambda path: path.stat().st_mtime), destination)


def leftovers(destination: Path) -> list[Path]:
    """Unfinished results that killed runs left beside the destination, the newest first."""
    found = [p for p in _remains(destination) if p.name.rpartition('-')[0].endswith('.part')]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def _remains(destination: Path) -> list[Path]:
    """What runs that are over left beside the destination."""
    if not destination.parent.is_dir():
        return []
    heads = tuple(f'.{destination.name}.{kind}-' for kind in ('part', 'old'))
    return sorted(
        path
        for path in destination.parent.iterdir()
        if path.name.startswith(heads) and is_over(path.name.rpartition('-')[2])
    )


def is_over(process: str) -> bool:
    """Tells that there is no process of this number; False where that cannot be told."""
    if os.name != 'posix' or not (process.isascii() and process.isdigit()):
        return False
    if int(process) == os.getpid():
        return True  # in a container numbers come again
    try:
        os.kill(int(process), 0)  # signal 0 does nothing but ask
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass
    return False


def _files(part: Path) -> Iterator[Path]:
    """What must reach the disk: the files, then the folder that lists them."""
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


def _remove_part(part: Path) -> None:
    """Deletes an unfinished result and its journal."""
    _remove(part)
    _remove(journal_of(part))


def _remove(path: Path) -> None:
    """Deletes what this process put there; nothing there is fine."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
