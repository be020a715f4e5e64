"""What every tool that asks a teacher takes on its command line."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
    """The endpoint, its limits, the cache and the dry run."""
    group = parser.add_argument_group('the teacher')
    group.add_argument('--teacher', type=Path, help='JSON file with the settings below')
    for name, kind, told in _SETTINGS:
        group.add_argument(f'--{name.replace("_", "-")}', type=kind, help=told)
    group.add_argument(
        '--key-name',
        default=KEY_NAME,
        metavar='VARIABLE',
        help='environment variable with the key; default: %(default)s',
    )
    group.add_argument('--cache', type=Path, help='folder of answers; default: OUT/cache')
    group.add_argument('--dry-run', action='store_true', help='ask nothing; show what it may cost')


def open_teacher(args: argparse.Namespace, cache: Path) -> Teacher:
    """The teacher that the command line names.

    Raises:
        ConfigError, DataError: as `read_endpoint` and `Teacher`.
    """
    settings = {name: getattr(args, name) for name, _, _ in _SETTINGS}
    return Teacher(read_endpoint(args.teacher, **settings), args.cache or cache, args.key_name)


def estimate(requests: Sequence[Request], teacher: Teacher) -> dict[str, Any]:
    """What asking would take, without asking."""
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
    """A prompt in full, of each kind of request (what follows the slash in its id)."""
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
    """What a run took, for its report."""
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
