#!/usr/bin/env python
"""Makes small files in the real format of every benchmark, to try a model or a change on.

  python tools/benchmark_samples.py samples/
  python tools/test.py configs/benchmarks/pope.py CHECKPOINT \\
      --cfg-options test_dataloader.dataset.data_root=samples/pope

Each set gets a folder with its files under the names of docs/datasets.md. The pictures are
drawn here, and so are questions and answers: no score on them means anything.

The last line of output is one JSON object, for scripts. Exit status: 0 done, 2 refused.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

COLOURS = ('red', 'green', 'blue', 'yellow', 'black', 'white')


def draw(path: Path, number: int) -> Path:
    """A small picture of one colour with a square in another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new('RGB', (60 + 4 * number, 48), COLOURS[number % len(COLOURS)])
    square = (10, 10, 24 + number, 30)
    ImageDraw.Draw(image).rectangle(square, fill=COLOURS[(number + 2) % len(COLOURS)])
    image.save(path)
    return path


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding='utf-8')


def scienceqa(root: Path) -> None:
    """Five problems: with picture, with hint, with both, with neither, of two options."""
    subjects = ('natural science', 'social science', 'language science')
    problems = {}
    for n in range(5):
        picture, hint = n in (0, 2), 'The square is small.' if n in (1, 2) else ''
        problems[str(100 + n)] = dict(
            question=f'Which colour is number {n}?',
            choices=['red', 'green', 'blue'][: 2 if n == 4 else 3],
            answer=n % 2,
            hint=hint,
            image='image.png' if picture else None,
            task='closed choice',
            grade=f'grade{3 * n + 1 if n < 4 else 12}',
            subject=subjects[n % 3],
            topic='colours',
            category='Sight',
            skill='Tell colours',
            lecture='Colours differ.',
            solution='Look at it.',
            split='test',
        )
        if picture:
            draw(root / f'images/test/{100 + n}/image.png', n)
    write_json(root / 'problems.json', problems)
    write_json(root / 'pid_splits.json', dict(test=list(problems), train=['100']))


MAKERS: dict[str, Callable[[Path], None]] = {'scienceqa': scienceqa}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('folder', type=Path, help='new or empty; a folder for each set goes here')
    args = parser.parse_args(argv)
    if args.folder.exists() and (not args.folder.is_dir() or any(args.folder.iterdir())):
        print(
            f'benchmark_samples: {args.folder} is not empty; expected a new folder. Name another.',
            file=sys.stderr,
        )
        return 2
    for name, make in MAKERS.items():
        make(args.folder / name)
    print(json.dumps(dict(folder=str(args.folder), sets=list(MAKERS))))
    return 0


if __name__ == '__main__':
    sys.exit(main())
