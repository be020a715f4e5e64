"""The benchmarks, by the name that a config gives."""

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
    """The set of that name.

    Raises:
        ConfigError: there is none; close ones are listed.
    """
    if name not in BENCHMARKS:
        raise unknown_name('benchmark', name, BENCHMARKS)
    return BENCHMARKS[name]


def read(
    name: str, data_root: str, files: Mapping[str, str], settings: Mapping[str, Any]
) -> list[Item]:
    """A set's items.

    Args:
        name: of the set.
        data_root: what the paths in ``files`` are below.
        files: role -> path; one that is None is left out.
        settings: of the set's reader.

    Raises:
        ConfigError: a role or setting that the set does not have, or one too few.
        DataError: a file is not as its format says, or only some of its items have a truth.
    """
    reader = get_benchmark(name).read
    known = inspect.signature(reader).parameters
    roles = {k for k, p in known.items() if p.kind is p.POSITIONAL_OR_KEYWORD}
    for given, wanted, kind in (
        (files, roles, 'file'),
        (settings, set(known) - roles, 'setting'),
    ):
        for key in given:
            if key not in wanted:
                raise unknown_name(f'{kind} of {name}', key, wanted)
    paths = {k: Path(data_root, v) for k, v in files.items() if v is not None}
    for role in roles - set(paths):
        if known[role].default is inspect.Parameter.empty:
            raise ConfigError(
                f'{name} needs the file "{role}"; files has {", ".join(paths) or "none"}. '
                'Name it in the dataset\'s "files".'
            )
    items = reader(**paths, **settings)
    _all_or_none(name, items)
    return items


def _all_or_none(name: str, items: Sequence[Item]) -> None:
    asked = [item for item in items if item.asked]
    without = [item for item in asked if item.truth is None]
    if without and len(without) < len(asked):
        raise DataError(
            f'{len(without)} of {len(asked)} records of {name} have no answer to compare with, '
            f'the first is {without[0].id!r}. Expected one in each, or in none where a server '
            'scores. Fetch the file again, or take those records out.'
        )
