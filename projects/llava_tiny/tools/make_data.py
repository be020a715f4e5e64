#!/usr/bin/env python
"""Draws the small world of llava-tiny: images, conversations, questions, a tokenizer.

  python projects/llava_tiny/tools/make_data.py               # data/tiny: three minutes, 600 MB
  python projects/llava_tiny/tools/make_data.py data/tiny-brown --train 4000 --color brown

The same files each time. The last line of output is one JSON object.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))
sys.path.append(str(Path(__file__).parents[3] / 'tools'))
from _cli import make_parser, run_tool

from mmllava.errors import ConfigError
from projects.llava_tiny import build_dataset
from projects.llava_tiny.draw import PAINTS


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('folder', type=Path, nargs='?', default=Path('data/tiny'))
    parser.add_argument('--train', type=int, default=84000, help='scenes to learn from')
    parser.add_argument(
        '--color', choices=sorted(PAINTS), help='every second scene has a thing of this colour'
    )
    parser.add_argument('--test', type=int, default=1000, help='scenes of each test')
    parser.add_argument('--questions', type=int, default=2000, help='questions of each test')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> dict:
    if min(args.train, args.test, args.questions) < 8:
        raise ConfigError('--train, --test and --questions take 8 or more.')
    folder = args.folder
    build_dataset.write_tokenizer(folder / 'tokenizer')
    scenes = build_dataset.write_images(folder, 'train', args.train, args.color)
    build_dataset.write_training(folder, scenes)
    for split in ('test', 'held-out'):
        scenes = build_dataset.write_images(folder, split, args.test)
        build_dataset.write_captions(folder, scenes, split)
        build_dataset.write_questions(folder, scenes, split, args.questions)
    return dict(folder=str(folder), train=args.train, test=args.test)


def main(argv: list[str] | None = None) -> int:
    return run_tool(__file__, parse_args, run, argv)


if __name__ == '__main__':
    sys.exit(main())
