#!/usr/bin/env python
"""Dumps every leaf config, fully resolved, as one JSON line each; compares with an earlier dump.

  python tools/dev/dump_configs.py --out before.jsonl       # then change the configs
  python tools/dev/dump_configs.py --compare before.jsonl   # lists each difference

A leaf is a config outside of `_base_`, below configs/ and projects/llava_tiny/configs. A line is
{"config": path, "content": ...} with sorted keys, so that equal configs give equal lines. The same
difference in several configs is listed once, with all their names.

The last line of output is one JSON object. Exit status: 0 done, and equal if compared; 1 something
differs; 2 refused (the reason is on stderr).
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmllava.errors import DataError, MMLlavaError
from mmllava.io import read_json_lines, write_json_lines

ROOT = Path(__file__).parents[2]
FOLDERS = ('configs', 'projects/llava_tiny/configs')
ABSENT = '(absent)'


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', help='file to write the dump to')
    parser.add_argument('--compare', help='file with an earlier dump')
    args = parser.parse_args(argv)
    if not args.out and not args.compare:
        parser.error('nothing to do; expected --out, --compare, or both')
    return args


def dump(root: Path) -> dict[str, Any]:
    """Returns the resolved content of every leaf, as JSON has it, by its path below ``root``."""
    files = sorted(
        file
        for folder in FOLDERS
        for file in (root / folder).rglob('*.py')
        if '_base_' not in file.parts
    )
    contents = {}
    for file in files:
        config = Config.fromfile(file, import_custom_modules=False)
        text = json.dumps(config.to_dict(), sort_keys=True)
        contents[file.relative_to(root).as_posix()] = json.loads(text)
    return contents


def read_dump(path: str) -> dict[str, Any]:
    """Reads what ``--out`` wrote."""
    contents = {}
    for where, record in read_json_lines(path):
        if record.keys() != {'config', 'content'}:
            raise DataError(
                f'{where} has {sorted(record)}; expected "config" and "content". Name a file '
                'that --out wrote.'
            )
        contents[record['config']] = record['content']
    return contents


def differences(before: Any, after: Any, key: str = '') -> Iterator[tuple[str, str, str]]:
    """Yields (key, before, after) of every entry that differs, keys in dotted form."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        pairs = [(name, before.get(name, ABSENT), after.get(name, ABSENT)) for name in before]
        pairs += [(name, ABSENT, after[name]) for name in after if name not in before]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = [(str(n), *values) for n, values in enumerate(zip(before, after, strict=True))]
    elif before != after:
        yield key, _text(before), _text(after)
        return
    else:
        return
    for name, *values in pairs:
        yield from differences(*values, f'{key}.{name}' if key else name)


def _text(value: Any) -> str:
    return value if value == ABSENT else json.dumps(value, sort_keys=True)


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Prints what differs between two dumps and returns the counts."""
    removed, added = sorted(before.keys() - after.keys()), sorted(after.keys() - before.keys())
    for title, names in (('removed', removed), ('added', added)):
        for name in names:
            print(f'{title}: {name}')
    found: dict[tuple[str, str, str], list[str]] = {}
    for name in sorted(before.keys() & after.keys()):
        for difference in differences(before[name], after[name]):
            found.setdefault(difference, []).append(name)
    for (key, old, new), names in found.items():
        print(f'{key}: {old} -> {new}')
        print(f'  in {len(names)}: {" ".join(names)}')
    differing = {name for names in found.values() for name in names}
    return dict(
        removed=len(removed),
        added=len(added),
        differing=len(differing),
        equal=len(before.keys() & after.keys()) - len(differing),
        differences=len(found),
    )


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    summary: dict[str, Any] = {}
    try:
        before = read_dump(args.compare) if args.compare else None
        contents = dump(ROOT)
        summary['configs'] = len(contents)
        if args.out:
            write_json_lines(args.out, (dict(config=k, content=v) for k, v in contents.items()))
    except (MMLlavaError, OSError) as error:
        print(f'dump_configs: {error}', file=sys.stderr)
        return 2
    if before is not None:
        summary.update(compare(before, contents))
    print(json.dumps(summary))
    return int(any(summary.get(name) for name in ('removed', 'added', 'differing')))


if __name__ == '__main__':
    sys.exit(main())
