#!/usr/bin/env python
"""Breaks the code on purpose, one place at a time, and checks that a test fails each time.

  python tools/dev/mutation_test.py                              # all of them, a few minutes
  python tools/dev/mutation_test.py --only 'layer -2' 'BOS'      # some
  python tools/dev/mutation_test.py --rows tools/benchmark/results/mutate.jsonl  # keep rows

Works in a copy of the tree, in a temporary folder; the tree itself is only read. The tests of
the chosen mutants run in the copy first and must pass, then once for each mutant. The last line
of output is one JSON object. Exit status: 0 each mutant is killed by a failing test, 1 one
lives (or its tests could not run, which proves nothing), 2 refused: a mutant's text is not
there exactly once, or the tests fail before anything is broken. The
table is tools/dev/mutation_table.py.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mutation_table import MUTANTS, Mutant

from mmllava.io import provenance

ROOT = Path(__file__).parents[2]
COPIED = (
    *('mmllava', 'tests', 'configs', 'tools', 'demo', 'projects'),
    *('pyproject.toml', 'model-index.yml'),
)
TIMEOUT_S = 600


def faults(root: Path, mutants: Sequence[Mutant]) -> list[str]:
    """Lists faults of the table: text that is not in its file exactly once, a duplicate name."""
    found = []
    for mutant in mutants:
        file = root / mutant.file
        count = file.read_text(encoding='utf-8').count(mutant.old) if file.is_file() else 0
        if count != 1:
            found.append(
                f'{mutant.name}: {mutant.old!r} is {count} times in {mutant.file}, expected once.'
            )
        if mutant.old == mutant.new:
            found.append(f'{mutant.name}: {mutant.old!r} is replaced by itself.')
    names = [mutant.name for mutant in mutants]
    return found + [f'{n}: the name is there twice.' for n in set(names) if names.count(n) > 1]


def copy_tree(root: Path, target: Path) -> None:
    """Copies what the tests need; no compiled file, which could outlive a mutant."""
    ignore = shutil.ignore_patterns('__pycache__', '*.pyc', '.hypothesis', '.mim')
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, target / name, ignore=ignore)
        elif (root / name).is_file():
            shutil.copy2(root / name, target / name)


def run_tests(copy: Path, tests: Sequence[str]) -> tuple[str, str]:
    """Runs tests in a copy: (``passed``, ``failed`` or ``broken``, first test that failed).

    ``broken`` is any end but these two: nothing collected, an error while importing,
    too long. It says nothing about what the tests check.
    """
    command = [sys.executable, '-m', 'pytest', '-q', '-x', '--tb=line', '-rfE', '-m', 'not gpu']
    command += ['-p', 'no:cacheprovider', *tests]
    env = dict(os.environ, PYTHONPATH=str(copy), PYTHONDONTWRITEBYTECODE='1', COLUMNS='300')
    try:
        done = subprocess.run(
            command, cwd=copy, env=env, capture_output=True, text=True, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return 'broken', f'more than {TIMEOUT_S} s'
    first = re.search(r'^FAILED (\S+)', done.stdout, re.M)
    if done.returncode == 0:
        return 'passed', ''
    if done.returncode == 1 and first:
        return 'failed', first[1]
    said = (done.stdout + done.stderr).strip().splitlines() or ['']
    return 'broken', f'pytest ended with {done.returncode}: {said[-1][:200]}'


def imported_from(copy: Path) -> Path:
    """Returns where the tests import the package from: the copy, or they prove nothing."""
    env = dict(os.environ, PYTHONPATH=str(copy), PYTHONDONTWRITEBYTECODE='1')
    code = 'import importlib.util as u; print(u.find_spec("mmllava").origin)'
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=copy, env=env, capture_output=True, text=True, check=True
    )
    return Path(done.stdout.strip())


def try_mutants(root: Path, mutants: Sequence[Mutant]) -> list[dict]:
    """Tests every mutant; returns one row each, in order, printed as it is known.

    Raises:
        ValueError: the copy is not what is tested, or its tests fail before anything is broken.
    """
    rows = []
    with tempfile.TemporaryDirectory(prefix='mutate-') as folder:
        copy = Path(folder).resolve()
        copy_tree(root, copy)
        if copy not in imported_from(copy).resolve().parents:
            raise ValueError(f'mmllava is imported from {imported_from(copy)}, not from {copy}.')
        tests = sorted({test for mutant in mutants for test in mutant.tests})
        state, what = run_tests(copy, tests)
        if state != 'passed':
            raise ValueError(f'the tests must pass before anything is broken, and {what}.')
        for mutant in mutants:
            file = copy / mutant.file
            text, start = file.read_text(encoding='utf-8'), time.perf_counter()
            file.write_text(text.replace(mutant.old, mutant.new), encoding='utf-8')
            state, what = run_tests(copy, mutant.tests)
            file.write_text(text, encoding='utf-8')
            seconds = round(time.perf_counter() - start, 1)
            result = dict(passed='lives', failed='killed').get(state, state)
            row = dict(mutant=mutant.name, file=mutant.file, result=result, by=what, s=seconds)
            rows.append(row)
            print(f'{result:<7} {mutant.name:<32} {what}', flush=True)
    return rows


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--only', nargs='+', metavar='NAME', help='mutants by name')
    parser.add_argument('--rows', type=Path, metavar='FILE', help='append a row of each mutant')
    return parser.parse_args(argv)


def main(
    argv: Sequence[str] | None = None, root: Path = ROOT, mutants: Sequence[Mutant] = MUTANTS
) -> int:
    args = parse_args(argv)
    wrong = faults(root, mutants)
    unknown = sorted(set(args.only or ()) - {mutant.name for mutant in mutants})
    if unknown:
        known = ', '.join(mutant.name for mutant in mutants)
        wrong = [f'no mutant is called {", ".join(unknown)}. Known: {known}.']
    if wrong:
        print('\n'.join(f'mutate: {line}' for line in wrong), file=sys.stderr)
        return 2
    chosen = [mutant for mutant in mutants if not args.only or mutant.name in args.only]
    made = provenance(
        'torch', 'transformers', 'hypothesis'
    )  # before the minutes in which the tree may go on
    try:
        rows = try_mutants(root, chosen)
    except ValueError as error:
        print(f'mutate: {error}', file=sys.stderr)
        return 2
    if args.rows:
        with args.rows.open('a', encoding='utf-8') as file:
            file.writelines(json.dumps({**made, **row}) + '\n' for row in rows)
    left = [row['mutant'] for row in rows if row['result'] != 'killed']
    print(json.dumps(dict(mutants=len(rows), killed=len(rows) - len(left), not_killed=left)))
    return 1 if left else 0


if __name__ == '__main__':
    sys.exit(main())
