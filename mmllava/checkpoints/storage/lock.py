"""Who is at work here: a file that is locked while its process lives.

The system takes a lock back when its process dies, however it dies. A process number would not
do: a later process may have it too, and who works in another container or on another machine
that shares the disk has a number that says nothing here.
"""

import errno
import os
import time
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None

_HELD = (errno.EWOULDBLOCK, errno.EACCES)
_TRIES, _PAUSE = 6, 0.01  # seconds: somebody who asks holds the lock for a moment


def make(file: Path) -> int:
    """Makes a file and locks it until the handle is closed.

    A disk without locks gives none; others cannot tell then that the file is free.

    Raises:
        FileExistsError: somebody made it before, or took it for a dead run's at once.
    """
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    with suppress(OSError):
        _lock(handle, 'LOCK_EX')
    if not _is_at(handle, file):
        os.close(handle)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(file))
    return handle


def take(file: Path) -> int | None:
    """Locks a file, made if need be; None where another process holds it, or was quicker.

    On a disk without locks a file that is there counts as held, and one that is made as locked.
    """
    there = file.exists()
    try:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:  # another user's; to lock it, reading it is enough
        handle = os.open(file, os.O_RDONLY)
    for left in reversed(range(_TRIES)):
        try:
            _lock(handle, 'LOCK_EX', 'LOCK_NB')
        except OSError as error:
            if error.errno in _HELD and left:
                time.sleep(_PAUSE)
                continue
            if error.errno in _HELD or there:
                break
        if _is_at(handle, file):
            return handle
        break
    os.close(handle)
    return None


def is_free(file: Path) -> bool:
    """Tells that no process holds a file's lock; False where that cannot be told."""
    try:
        handle = os.open(file, os.O_RDONLY)
    except FileNotFoundError:
        return True
    except OSError:  # of another user, who lets nobody read it
        return False
    try:
        _lock(handle, 'LOCK_SH', 'LOCK_NB')  # two may ask at once
    except OSError:  # held; or the disk has no locks
        return False
    finally:
        os.close(handle)
    return True


def _lock(handle: int, *ways: str) -> None:
    """``flock``; OSError where the lock is held, or the system or the disk has none."""
    if fcntl is None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
    fcntl.flock(handle, sum(getattr(fcntl, way) for way in ways))


def _is_at(handle: int, file: Path) -> bool:
    """Tells whether the open file is still the one of that name; it may have been deleted."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), os.stat(file))
    return False
