"""Runs changed inputs: each is answered or refused within limits of time and memory."""

import json
import os
import random
import resource
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mmllava.errors import MMLlavaError

SEED = int(os.environ.get('MMLLAVA_FUZZ_SEED', '0'))
LIMIT_S = 10
LIMIT_BYTES = 1 << 30
#: values that a file from elsewhere may have in any place
VALUES = (
    *(None, True, False, 0, -1, 1, 3, 2.5, -1.5, 1e308, 10**4, 10**6, 10**9, float('nan')),
    *('', 'x', '1', '\ud800', [], {}, [1, 2], [[1]], [None], dict(a=1), [[336, 672], [0, 0]]),
)


def count(default: int) -> int:
    """Returns how many inputs to try."""
    return int(os.environ.get('MMLLAVA_FUZZ_COUNT', default))


class Hang(BaseException):
    """Ends an input that takes longer than the limit; no handler of ours may swallow it."""


@contextmanager
def deadline(seconds: int) -> Iterator[None]:
    """Raises `Hang` after so many seconds."""

    def ring(*_: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def try_inputs(
    inputs: Iterator[tuple[str, Callable[[], Any]]], refusals: tuple[type[BaseException], ...] = ()
) -> Counter[str]:
    """Runs each (description, call); counts ``answered`` and ``refused``, fails on anything else.

    Args:
        inputs: what was changed, for the message, and the call that reads it.
        refusals: other ways to refuse, such as SystemExit.
    """
    counts: Counter[str] = Counter()
    faults = []
    for what, call in inputs:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            with deadline(LIMIT_S):
                call()
            counts['answered'] += 1
        except (MMLlavaError, *refusals):
            counts['refused'] += 1
        except (Exception, Hang) as error:
            faults.append(f'{what}: {type(error).__name__}: {str(error)[:200]}')
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
        if grown * 1024 > LIMIT_BYTES:
            faults.append(f'{what}: {grown / 1024:.0f} MiB')
    assert not faults, f'{len(faults)} of {sum(counts.values()) + len(faults)}:\n' + '\n'.join(
        faults[:20]
    )
    return counts


def change_json(value: Any, rng: random.Random, extra: tuple[str, ...] = ()) -> str:
    """Changes one or two places of a JSON object in place; returns what was done.

    Args:
        value: an object, or a list of them.
        rng: chooses.
        extra: keys that may be added at the top.
    """
    done = []
    for _ in range(rng.choice([1, 1, 2])):
        at, path = value, []
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if at is value and isinstance(at, dict):
                keys += extra
            if not keys:
                break
            key = rng.choice(keys)
            inner = at[key] if not isinstance(at, dict) else at.get(key)
            path.append(key)
            if isinstance(inner, (dict, list)) and inner and rng.random() < 0.7:
                at = inner
                continue
            if isinstance(at, dict) and rng.random() < 0.1:
                at.pop(key, None)
                done.append(f'{path} deleted')
            else:
                at[key] = json.loads(json.dumps(rng.choice(VALUES)))
                done.append(f'{path} = {at[key]!r}')
            break
    return ', '.join(done)


def change_bytes(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Cuts, flips, repeats or inserts some bytes; returns them and what was done."""
    at = rng.randrange(len(data) + 1)
    size = rng.choice([1, 1, 2, 8, 100])
    how = rng.choice(['cut', 'flip', 'drop', 'insert', 'repeat'])
    if how == 'cut':
        changed = data[:at]
    elif how == 'flip':
        changed = data[:at] + bytes(b ^ rng.randrange(1, 256) for b in data[at : at + size])
        changed += data[at + size :]
    elif how == 'drop':
        changed = data[:at] + data[at + size :]
    elif how == 'insert':
        changed = data[:at] + rng.randbytes(size) + data[at:]
    else:
        changed = data[:at] + data[at : at + size] * rng.choice([2, 100]) + data[at + size :]
    return changed, f'{how} {size} at {at}'
