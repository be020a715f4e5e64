"""All benchmarks by the name that a config gives, and the one way to read their files."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmllava.benchmarks import captions, multiple_choice, open_ended, scienceqa, vqa, yes_no
from mmllava.benchmarks.types import Benchmark, Item
from mmllava.errors import ConfigError, DataError, unknown_name

_FAMILIES = (captions, multiple_choice, open_ended, scienceqa, vqa, yes_no)
BENCHMARKS: dict[str, Benchmark] = {
    name: benchmark for family in _FAMILIES for name, benchmark in family.BENCHMARKS.items()
}


def get_benchmark(name: str) -> Benchmark:
    """Returns a benchmark by name.

    Raises:
        ConfigError: there is none; similar names are listed.
    """
    if name not in BENCHMARKS:
        raise unknown_name('benchmark', name, BENCHMARKS)
    return BENCHMARKS[name]


def read(
    name: str, data_root: str, files: Mapping[str, str], settings: Mapping[str, Any]
) -> list[Item]:
    """Reads the items of a benchmark.

    Args:
        name: of the benchmark.
        data_root: folder that the paths in ``files`` are relative to.
        files: role -> path; None leaves a file out.
        settings: keyword arguments of the benchmark's reader.

    Raises:
        ConfigError: a role or setting is unknown, or a file is missing from ``files``.
        DataError: a file is not in its format, or only some of its items have a truth.
    """
    reader = get_benchmark(name).read
    known = inspect.signature(reader).parameters
    roles = {k for k, p in known.items() if p.kind is p.POSITIONAL_OR_KEYWORD}
    for given, expected, kind in (
        (files, roles, 'file'),
        (settings, set(known) - roles, 'setting'),
    ):
        for key in given:
            if key not in expected:
                raise unknown_name(f'{kind} of {name}', key, expected)
    paths = {k: Path(data_root, v) for k, v in files.items() if v is not None}
    for role in roles - set(paths):
        if known[role].default is inspect.Parameter.empty:
            raise ConfigError(
                f'{name} needs the file "{role}"; files has {", ".join(paths) or "none"}. '
                'Name it in the dataset\'s "files".'
            )
    items = reader(**paths, **settings)
    _check_truths(name, items)
    return items


def _check_truths(name: str, items: Sequence[Item]) -> None:
    asked = [item for item in items if item.asked]
    without = [item for item in asked if item.truth is None]
    if without and len(without) < len(asked):
        raise DataError(
            f'{len(without)} of {len(asked)} records of {name} have no answer to compare with, '
            f'the first is {without[0].id!r}. Expected one in each, or in none where a server '
            'scores. Download the file again, or remove those records.'
        )
