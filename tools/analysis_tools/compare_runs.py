#!/usr/bin/env python
"""Compares two runs of tools/test.py: protocol, scores, and the answer of every sample.

  python tools/analysis_tools/compare_runs.py work_dirs/a work_dirs/b

A and B are work folders. What is printed first is what decides a score (prompt,
template, images, decoding, weights, data), then the scores, then the samples that
were answered differently, with what each scored. --limit 0 prints all of them.

The last line of output is one JSON object. Exit status: 0 the same protocol, scores
and answers; 1 something differs; 2 refused (the reason is on stderr). Machine and
versions are printed too, and are no difference by themselves.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))
from _cli import make_parser, run_tool

from mmllava.evaluation.runs import Comparison, answer_of, compare, read_run


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('a', help='work folder of a run')
    parser.add_argument('b', help='work folder of another')
    parser.add_argument(
        '--limit', type=int, default=10, help='changed samples to print; 0: all (default: 10)'
    )
    args = parser.parse_args(argv)
    if args.limit < 0:
        parser.error(f'--limit is {args.limit}, expected 0 or more')
    return args


def show(found: Comparison, limit: int) -> None:
    """Prints a comparison for people."""
    for title, rows in (('protocol', found.protocol), ('environment', found.environment)):
        print(f'{title}: {"differs" if rows else "the same"}')
        for name, a, b in rows:
            print(f'  {name}\n    A: {_short(a)}\n    B: {_short(b)}')
    print(f'scores: {"differ" if found.scores else "the same"}')
    for name, (a, b) in found.scores.items():
        change = f'  ({b - a:+.4g})' if _is_number(a) and _is_number(b) else ''
        print(f'  {name}: {_short(a)} -> {_short(b)}{change}')
    for letter, ids in zip('AB', found.only, strict=True):
        if ids:
            print(f'samples that only {letter} has: {len(ids)}, the first is {ids[0]!r}')
    print(f'samples answered differently: {len(found.changed)} of {found.shared}')
    for name, (better, worse) in found.moved.items():
        print(f'  {name}: {better} better, {worse} worse in B')
    for key, a, b in found.changed[: limit or None]:
        print(f'  {key!r}: {_short(a.get("question") or "")}')
        for letter, sample in (('A', a), ('B', b)):
            print(f'    {letter}: {_short(answer_of(sample))}{_scores(sample)}')
        if a.get('reference') is not None:
            print(f'    reference: {_short(a["reference"])}')
    if limit and len(found.changed) > limit:
        print(f'  and {len(found.changed) - limit} more: --limit 0 prints all')


def _scores(sample: Mapping[str, Any]) -> str:
    scores = sample.get('scores') or {}
    if sample.get('error'):
        return f'  failed: {_short(sample["error"])}'
    return '  ' + ' '.join(f'{k}={_short(v)}' for k, v in scores.items()) if scores else ''


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def _short(value: Any) -> str:
    """Shortens a value to one line of at most 200 characters."""
    text = f'{value:.4g}' if isinstance(value, float) else repr(value)
    return text if len(text) <= 200 else text[:197] + '...'


def run(args: argparse.Namespace) -> tuple[int, dict[str, Any]]:
    found = compare(read_run(args.a), read_run(args.b))
    show(found, args.limit)
    summary = dict(
        equal=found.equal,
        protocol=[name for name, _, _ in found.protocol],
        scores=found.scores,
        only_a=len(found.only[0]),
        only_b=len(found.only[1]),
        changed=len(found.changed),
        shared=found.shared,
    )
    return 0 if found.equal else 1, summary


def main(argv: list[str] | None = None) -> int:
    return run_tool(__file__, parse_args, run, argv)


if __name__ == '__main__':
    sys.exit(main())
