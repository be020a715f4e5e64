#!/usr/bin/env python
"""Writes ScienceQA as LLaVA's training JSON.

  # data/scienceqa holds problems.json and pid_splits.json, as ScienceQA releases them
  python tools/dataset_converters/scienceqa.py data/scienceqa --split train

  # the format of LLaVA v0, and where to write
  python tools/dataset_converters/scienceqa.py data/scienceqa --split test \\
      --format QCM-LEPA --out sqa_test.json

A format is the order of the question (CQM, QCM, ...) and of the answer (A, LEA, LEPA, ...).
Image paths are below the folder of the split, images/train or the like.

The last line of output is one JSON object, for scripts.
Exit status: 0 done, 2 refused (the reason is on stderr).
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))
from _cli import make_parser, run_tool

from mmllava.datasets.scienceqa import ANSWERS, QUESTIONS, convert
from mmllava.errors import ConfigError
from mmllava.io import write_json


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
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


def run(args: argparse.Namespace) -> dict[str, Any]:
    out = args.out or args.folder / f'llava_{args.split}_{args.format}.json'
    records = convert(args.folder, args.split, args.format)
    if out.name in ('problems.json', 'pid_splits.json') or out.is_dir():
        raise ConfigError(f'cannot write {out}: it is a folder or one of the inputs.')
    if not out.resolve().parent.is_dir():
        raise ConfigError(f'cannot write {out}: there is no folder {out.parent}. Make it first.')
    if out.exists() and not args.overwrite:
        raise ConfigError(
            f'cannot write {out}: it exists already. Name another by --out, or add --overwrite.'
        )
    write_json(out, records)
    images = sum('image' in record for record in records)
    print(f'{out}: {len(records)} records, {images} with an image')
    return dict(out=str(out), records=len(records), images=images)


def main(argv: list[str] | None = None) -> int:
    return run_tool(__file__, parse_args, run, argv)


if __name__ == '__main__':
    sys.exit(main())
