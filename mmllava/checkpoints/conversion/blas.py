"""Numpy's matrix products on one thread, while other threads of ours read and count.

OpenBLAS's own threads wait for each other by spinning. Beside the readers of a conversion,
products on two threads took ten times the processor time of one.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_MAPS = Path('/proc/self/maps')
# numpy's wheels and other builds name the same two functions differently.
_NAMES = ('scipy_openblas_{}64_', 'scipy_openblas_{}', 'openblas_{}64_', 'openblas_{}')


@contextmanager
def one_thread() -> Iterator[None]:
    """Limits OpenBLAS to one thread, and gives it its threads back; no effect elsewhere."""
    found = [
        (functions, functions[0]()) for functions in map(_functions, _libraries()) if functions
    ]
    for (_, set_threads), _ in found:
        set_threads(1)
    try:
        yield
    finally:
        for (_, set_threads), before in found:
            set_threads(before)


def _libraries() -> list[str]:
    """The files of OpenBLAS that this process has loaded; Linux alone tells."""
    if not _MAPS.exists():
        return []
    paths = {line.split(maxsplit=5)[-1].strip() for line in _MAPS.read_text().splitlines()}
    return sorted(path for path in paths if 'openblas' in Path(path).name)


def _functions(path: str) -> tuple[Any, Any] | None:
    """The functions that get and set the number of threads."""
    library = ctypes.CDLL(path)
    for name in _NAMES:
        get, put = (name.format(f'{verb}_num_threads') for verb in ('get', 'set'))
        if hasattr(library, get) and hasattr(library, put):
            return getattr(library, get), getattr(library, put)
    return None
