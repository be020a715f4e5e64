"""Command-line options, cost estimates and output folders of the tools that ask a teacher."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmllava import io
from mmllava.errors import ConfigError
from mmllava.teacher.client import Teacher
from mmllava.teacher.endpoint import KEY_NAME, Request, read_endpoint

_SETTINGS = (  # name in Endpoint, type, help
    ('base_url', str, 'address, such as http://localhost:8000/v1; default: $OPENAI_BASE_URL'),
    ('model', str, 'name of the model there; default: $TEACHER_MODEL'),
    ('concurrency', int, 'requests at a time; default: 16'),
    ('timeout_s', float, 'seconds for one try; default: 120'),
    ('tries', int, 'of one request; default: 6'),
    ('max_usd', float, 'dollars this run may cost; needs the prices'),
    ('max_total_tokens', int, 'tokens this run may take, in and out'),
    ('usd_per_million_in', float, 'price of a million tokens in'),
    ('usd_per_million_out', float, 'price of a million tokens out'),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of endpoint, limits, cache and dry run."""
    group = parser.add_argument_group('the teacher')
    group.add_argument('--teacher', type=Path, help='JSON file with the settings below')
    for name, kind, text in _SETTINGS:
        group.add_argument(f'--{name.replace("_", "-")}', type=kind, help=text)
    group.add_argument(
        '--key-name',
        default=KEY_NAME,
        metavar='VARIABLE',
        help='environment variable with the key; default: %(default)s',
    )
    group.add_argument('--cache', type=Path, help='folder of answers; default: OUT/cache')
    group.add_argument('--dry-run', action='store_true', help='ask nothing; show what it may cost')


def open_teacher(args: argparse.Namespace, cache: Path) -> Teacher:
    """Builds the teacher that the command line names.

    Raises:
        ConfigError, DataError: as `read_endpoint` and `Teacher`.
    """
    settings = {name: getattr(args, name) for name, _, _ in _SETTINGS}
    return Teacher(read_endpoint(args.teacher, **settings), args.cache or cache, args.key_name)


def claim(out: Path, tool: str, run: dict[str, Any], names: Iterable[str]) -> None:
    """Records the run in ``out/run.json`` before anything else is written into the folder.

    Args:
        out: the folder.
        tool: name of the tool that writes.
        run: settings that identify the run; a run with the same may be overwritten.
        names: names of the files that will be written.

    Raises:
        ConfigError: another tool wrote them, or this one with other settings.
    """
    file = out / 'run.json'
    before = io.read_json(file) if file.exists() else {}
    mine = before.get('tool') == tool
    taken = [name for name in names if (out / name).exists()]
    if (taken and not mine) or (before and not mine):
        raise ConfigError(
            f'{out} holds files of something else ({(*taken, "run.json")[0]}). Name another '
            'folder with --out.'
        )
    other = [name for name in run if name in before and before[name] != run[name]]
    if other:
        raise ConfigError(
            f'{out} holds a run with other settings ({", ".join(other)}). Name another '
            'folder with --out; --cache may be shared.'
        )
    io.write_json(file, before | dict(tool=tool) | run)


def estimate(requests: Sequence[Request], teacher: Teacher) -> dict[str, Any]:
    """Estimates requests, tokens and cost, without asking."""
    todo: dict[str, Request] = {}
    for request in requests:
        key = request.key(teacher.endpoint)
        if teacher.cache.get(key) is None:
            todo[key] = request
    tokens_in = sum(request.tokens() for request in todo.values())
    most_out = sum(request.most_out(teacher.endpoint) for request in todo.values())
    priced = teacher.endpoint.usd_per_million_in is not None
    return dict(
        requests=len(requests),
        cached=len(requests) - len(todo),
        tokens_in=tokens_in,
        tokens_out_at_most=most_out,
        usd_at_most=round(teacher.endpoint.usd(tokens_in, most_out), 4) if priced else None,
    )


def print_first(requests: Sequence[Request]) -> None:
    """Prints one full prompt of each kind of request (the part of its id after the slash)."""
    shown = set()
    for request in requests:
        kind = request.id.rpartition('/')[2]
        if kind in shown:
            continue
        shown.add(kind)
        for role, text in request.messages:
            print(f'--- {request.id}: {role}\n{text}')
    print('---')


def spent(teacher: Teacher) -> dict[str, Any]:
    """Reports the requests, tokens and cost of a run."""
    used = teacher.budget.spent
    return dict(
        asked=teacher.endpoint.model,
        answered_by=dict(teacher.models),
        base_url=teacher.endpoint.base_url,
        requests=dict(sorted(teacher.counts.items())),
        tokens_in=used.tokens_in,
        tokens_out=used.tokens_out,
        counted_at_the_most=used.unsure,
        usd=round(used.usd, 6) if teacher.endpoint.usd_per_million_in is not None else None,
        stopped=teacher.stopped,
    )
