#!/usr/bin/env python
"""Reads a checkpoint again: is it what was written, is it the same model as another one?

  # every tensor's and file's SHA-256 against the manifest that tools/convert.py wrote
  python tools/model_converters/verify.py weights/llava-v1.5-7b-hf

  # two checkpoints of any layouts, tensor by tensor
  python tools/model_converters/verify.py weights/llava-v1.5-7b-hf --against weights/llava-v1.5-7b

The last line of output is one JSON object, for scripts.
Exit status: 0 the same, 1 different (from the manifest: what differs is on stderr), 2 refused
(the reason is on stderr), 130 interrupted.
"""

import argparse
import signal
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from _cli import make_parser, run_tool

from mmllava.checkpoints import compare, read_entries, verify
from mmllava.checkpoints.conversion.compare import Difference
from mmllava.checkpoints.conversion.manifest import ChangedError
from mmllava.checkpoints.conversion.progress import Progress
from mmllava.checkpoints.layouts.identify import weights_of


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('checkpoint', help='file or folder')
    parser.add_argument('--against', help='another checkpoint, of any layout')
    parser.add_argument('--base', help='of whichever is a delta, a projector or an adapter')
    args = parser.parse_args(argv)
    if args.base and not args.against:
        parser.error('--base belongs to --against: a manifest needs no base')
    return args


def describe(found: Difference) -> None:
    """Prints what two checkpoints have in common."""
    print(f'equal               {found.equal} tensors')
    print(f'equal up to dtype   {found.up_to_dtype}')
    print(f'different           {found.different}')
    for what, names in (('first', found.only_first), ('second', found.only_second)):
        if names:
            print(f'only in the {what:<8}{len(names)}: {", ".join(names[:3])}')
    if found.first_different:
        print(f'first that differs  {found.first_different}')
    print(f'difference          max {found.max_difference:g}, mean {found.mean_difference:g}')


def run(args: argparse.Namespace) -> int | tuple[int, dict]:
    """Verifies or compares; returns the exit status and the figures of the last line."""
    total = sum(entry.nbytes for entry in read_entries(weights_of(args.checkpoint)).values())
    progress = Progress('verify', total)
    try:
        if not args.against:
            return 0, dict(verify(args.checkpoint, progress), same=True)
        found = compare(args.checkpoint, args.against, progress, args.base)
    except ChangedError as error:
        print(f'verify: {error}', file=sys.stderr)
        return 1
    finally:
        progress.close()
    describe(found)
    return int(not found.same), dict(found.as_dict(), same=found.same)


def main(argv: list[str] | None = None) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return run_tool(__file__, parse_args, run, argv, 'interrupted')


if __name__ == '__main__':
    sys.exit(main())
