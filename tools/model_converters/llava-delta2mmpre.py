#!/usr/bin/env python
"""Merges a LLaVA delta into LLaMA.

  # one file; name the delta's folder as tokenizer when you load it
  python tools/model_converters/llava-delta2mmpre.py \\
      huggyllama/llama-7b liuhaotian/LLaVA-Lightning-7B-delta-v1-1 ./LLaVA-Lightning-7B-delta-v1-1.pth

  # a folder that needs nothing else: weights, config, tokenizer, vision tower
  python tools/model_converters/llava-delta2mmpre.py \\
      weights/llama-7b weights/delta weights/llava-7b --tower weights/clip-vit-large-patch14

Each source is a hub id or a local folder. Memory stays under 1 GB for any size; the
disk needs room for the result. The last line of output is one JSON object, for scripts.
Exit status: 0 done, 2 refused (the reason is on stderr), 130 interrupted; in the last
two cases nothing is left behind.
"""  # noqa: E501

import argparse
import signal
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from _cli import make_parser, run_tool

from mmllava.checkpoints import (
    Conversion,
    check_write,
    count_moves,
    is_file_destination,
    prepare_merge,
    write_conversion,
)
from mmllava.checkpoints.conversion.progress import Progress, peak_rss_mb


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(
        __doc__,
        usage='%(prog)s BASE DELTA DST [options]\n       %(prog)s BASE DST --delta DELTA [options]',
    )
    parser.add_argument(
        'paths',
        nargs='+',
        metavar='BASE DELTA DST',
        help='LLaMA; the delta; a file that ends in .pth, or a folder to be made',
    )
    parser.add_argument('--delta', help="the delta, as mmpretrain's script takes it")
    parser.add_argument('--tower', help='CLIP model whose vision half becomes part of the result')
    parser.add_argument(
        '--overwrite', action='store_true', help='replace an earlier merge, once this one is done'
    )
    args = parser.parse_intermixed_args(argv)
    expected = 2 if args.delta else 3
    if len(args.paths) != expected:
        parser.error(
            f'{len(args.paths)} names given, {expected} expected: '
            + ('BASE DST (the delta is named by --delta)' if args.delta else 'BASE DELTA DST')
        )
    args.base, args.dst = args.paths[0], args.paths[-1]
    args.delta = args.delta or args.paths[1]
    return args


def describe(merge: Conversion) -> None:
    """Prints what was found and what will be done with it."""
    for role, path in sorted(merge.sources.items()):
        print(f'{"delta" if role == "source" else role:<6} {path}')
    counts = count_moves(merge.moves)
    print(
        f'{len(merge.kept)} tensors, {merge.nbytes / 1e9:.2f} GB: {counts["added"]} added, '
        f'{counts["grown"]} grown by new tokens, {counts["whole"]} taken whole, '
        f'{counts["dropped"]} dropped'
    )
    for move in merge.moves:
        if move.how == 'dropped' and not move.name.startswith('text_model.'):
            print(f'dropped {move.name}')


def run(args: argparse.Namespace) -> dict:
    """Merges; gives the figures of the last line."""
    start = time.monotonic()
    to_file = is_file_destination(args.dst)
    merge = prepare_merge(args.base, args.delta, args.tower, to_folder=not to_file)
    check_write(merge, args.dst, args.overwrite)
    describe(merge)
    notes = list(merge.notes)
    if to_file:
        notes.append(
            f'a .pth holds no tokenizer: name {merge.sources["source"]} as tokenizer when loading.'
        )
    for note in notes:
        print(f'note: {note}', flush=True)
    progress = Progress('llava-delta2mmpre', merge.nbytes)
    try:
        write_conversion(merge, args.dst, args.overwrite, progress)
    finally:
        progress.close()
    seconds = time.monotonic() - start
    return dict(
        destination=args.dst,
        tensors=len(merge.kept),
        bytes=merge.nbytes,
        **count_moves(merge.moves),
        seconds=round(seconds, 2),
        peak_rss_mb=peak_rss_mb(),
    )


def main(argv: list[str] | None = None) -> int:
    # A polite kill cleans up like a Ctrl-C; Python's default is to die on the spot.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return run_tool(__file__, parse_args, run, argv, 'interrupted; nothing was written')


if __name__ == '__main__':
    sys.exit(main())
