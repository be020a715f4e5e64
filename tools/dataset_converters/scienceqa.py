#!/usr/bin/env python
"""Writes ScienceQA as LLaVA's training JSON.

  # data/scienceqa holds problems.json and pid_splits.json, as ScienceQA releases them
  python tools/dataset_converters/scienceqa.py data/scienceqa --split train

  # the format of LLaVA v0, and where to write
  python tools/dataset_converters/scienceqa.py data/scienceqa --split test \\
      --format QCM-LEPA --out sqa_test.json

A format is the order of the question (CQM, QCM, ...) and of the answer (A, LEA, LEPA, ...).
Picture paths are below the folder of the split, images/train or the like.

The last line of output is one JSON object, for scripts.
Exit status: 0 done, 2 refused (the reason is on stderr).
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from mmllava.datasets.scienceqa import ANSWERS, QUESTIONS, convert
from mmllava.errors import MMLlavaError


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('folder', type=Path, help='with problems.json and pid_splits.json')
    parser.add_argument('--split', required=True, help='train, val, test, minival or minitest')
    parser.add_argument(
        '--format',
        default='QCM-LEA',
        help=f'question of {", ".join(QUESTIONS)}, a dash, answer of {", ".join(ANSWERS)}; '
        'default: QCM-LEA, that of LLaVA v1',
    )
    parser.add_argument('--out', type=Path, help='default: FOLDER/llava_SPLIT_FORMAT.json')
    parser.add_argument('--overwrite', action='store_true', help='replace a file that is there')
    return parser.parse_args(argv)


def write(rows: list[dict], path: Path) -> None:
    """Writes the rows whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
    try:
        with open(handle, 'w', encoding='utf-8') as file:
            json.dump(rows, file, indent=2)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    out = args.out or args.folder / f'llava_{args.split}_{args.format}.json'
    try:
        rows = convert(args.folder, args.split, args.format)
        if out.name in ('problems.json', 'pid_splits.json') or out.is_dir():
            raise OSError(0, 'it is a folder or one of the inputs')
        if out.exists() and not args.overwrite:
            raise OSError(0, 'it exists already. Name another by --out, or add --overwrite')
        write(rows, out)
    except MMLlavaError as error:
        print(f'scienceqa: {error}', file=sys.stderr)
        return 2
    except OSError as error:
        print(f'scienceqa: cannot write {out}: {error.strerror}.', file=sys.stderr)
        return 2
    pictures = sum('image' in row for row in rows)
    print(f'{out}: {len(rows)} rows, {pictures} with a picture')
    print(json.dumps(dict(out=str(out), rows=len(rows), pictures=pictures)))
    return 0


if __name__ == '__main__':
    sys.exit(main())
