#!/usr/bin/env python
"""Draws the small world of llava-tiny: pictures, conversations, questions, a tokenizer.

  python projects/llava_tiny/tools/make_data.py               # data/tiny: three minutes, 600 MB
  python projects/llava_tiny/tools/make_data.py data/tiny-brown --train 4000 --color brown

The same files each time. The last line of output is one JSON object.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))
from projects.llava_tiny import build_dataset
from projects.llava_tiny.draw import PAINTS


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('folder', type=Path, nargs='?', default=Path('data/tiny'))
    parser.add_argument('--train', type=int, default=84000, help='scenes to learn from')
    parser.add_argument(
        '--color', choices=sorted(PAINTS), help='every second scene has a thing of this colour'
    )
    parser.add_argument('--test', type=int, default=1000, help='scenes of each test')
    parser.add_argument('--questions', type=int, default=2000, help='questions of each test')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    if min(args.train, args.test, args.questions) < 8:
        print('make_data: --train, --test and --questions take 8 or more.', file=sys.stderr)
        return 2
    folder = args.folder
    try:
        build_dataset.write_tokenizer(folder / 'tokenizer')
        build_dataset.write_training(
            folder, build_dataset.write_pictures(folder, 'train', args.train, args.color)
        )
        for split in ('test', 'held-out'):
            scenes = build_dataset.write_pictures(folder, split, args.test)
            build_dataset.write_captions(folder, scenes, split)
            build_dataset.write_questions(folder, scenes, split, args.questions)
    except OSError as error:
        print(f'make_data: cannot write {error.filename}: {error.strerror}.', file=sys.stderr)
        return 2
    print(json.dumps(dict(folder=str(folder), train=args.train, test=args.test)))
    return 0


if __name__ == '__main__':
    sys.exit(main())
