"""Floor 1. Who is at work here: a file that is locked while its process lives.

The system takes a lock back when its process dies, however it dies. A process number would not
do: a later process may have it too, and who works in another container or on another machine
that shares the disk has a number that says nothing here.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path


def make(file: Path) -> int:
    """Makes a file and locks it until the handle is closed.

    A disk without locks gives none; others cannot tell then that the file is free.

    Raises:
        FileExistsError: somebody made it before.
    """
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def take(file: Path) -> int | None:
    """Locks a file, made if need be; None where another process holds it, or was quicker."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), os.stat(file)):  # else it was deleted meanwhile
            return handle
    os.close(handle)
    return None


def is_free(file: Path) -> bool:
    """Tells that no process holds a file's lock; False where that cannot be told."""
    try:
        handle = os.open(file, os.O_RDWR)
    except FileNotFoundError:
        return True
    except OSError:  # of another user
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held; or the disk has no locks
        return False
    finally:
        os.close(handle)
    return True
