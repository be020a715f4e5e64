#!/usr/bin/env python
"""Converts a LLaVA checkpoint from any layout to any other, tensor by tensor.

  # what is it, and what would happen? reads headers only
  python tools/convert.py weights/llava-v1.5-7b --to hf --tower weights/clip-336 --dry-run

  # for transformers, vLLM and others: weights, config, tokenizer, processor, chat template
  python tools/convert.py weights/llava-v1.5-7b --to hf --tower weights/clip-336 --out weights/hf

  # LLaMA + delta, an adapter onto its base, a projector onto its language model
  python tools/convert.py weights/delta --base weights/llama-7b --to mmllava --out weights/llava
  python tools/convert.py weights/lora --base weights/vicuna-7b-v1.5 --to original --out merged

The layout of the source is found from its tensors and config and printed with the reason.
Memory stays under 1.5 GB for any size; the disk needs room for the result. A run that was
killed goes on with the same command and --resume. docs/checkpoints.md has the whole table.
The last line of output is one JSON object, for scripts.
Exit status: 0 done, 2 refused (the reason is on stderr), 130 interrupted; in the last
two cases nothing is left behind.
"""

import argparse
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
from _cli import make_parser, run_tool

from mmllava.checkpoints import (
    LAYOUTS,
    TARGETS,
    Conversion,
    check_write,
    count_moves,
    identify,
    prepare_conversion,
    write_conversion,
)
from mmllava.checkpoints.conversion.prepare import DTYPES
from mmllava.checkpoints.conversion.progress import Progress, peak_rss_mb
from mmllava.checkpoints.conversion.run import find_leftover, why_not_resumable
from mmllava.checkpoints.conversion.verify import verify_conversion
from mmllava.errors import CheckpointError

LOGITS_BYTES = 4e9  # of a result; twice that is in memory, and more in float16
ALONE = ('hf', 'original', 'mmllava')  # layouts of models that run by themselves
_UNITS = {'': 1, 'k': 10**3, 'm': 10**6, 'g': 10**9, 't': 10**12}


def size(text: str) -> int:
    """Parses a size such as 5GB or 800MB to bytes."""
    match = re.fullmatch(r'(\d+(?:\.\d+)?)\s*([kmgt]?)b?', text.strip().lower())
    if not match or float(match[1]) <= 0:
        raise argparse.ArgumentTypeError(f'{text!r} is no size; expected one like 5GB or 800MB')
    return int(float(match[1]) * _UNITS[match[2]])


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('source', help='file, folder or hub id')
    parser.add_argument('--to', required=True, choices=TARGETS, help='layout of the result')
    parser.add_argument('--out', help='a folder to be made, or a file that ends in .pth')
    parser.add_argument(
        '--base',
        help='what a delta, a projector or an adapter belongs to; LLaMA for --to delta; for a '
        'bare file the LLaVA folder with its config and tokenizer',
    )
    parser.add_argument('--tower', help='CLIP model whose vision half becomes part of the result')
    parser.add_argument(
        '--from',
        dest='layout',
        choices=LAYOUTS,
        help='layout of the source, where it cannot be detected',
    )
    parser.add_argument('--dtype', choices=DTYPES, help='of every tensor; as it is by default')
    parser.add_argument(
        '--shard-size', type=size, default=size('5GB'), help='of one file of a folder (5GB)'
    )
    parser.add_argument('--dry-run', action='store_true', help='print the plan, write nothing')
    parser.add_argument(
        '--verify', action='store_true', help='compute the result again, and compare logits'
    )
    parser.add_argument('--resume', action='store_true', help='go on with what a killed run left')
    parser.add_argument(
        '--overwrite', action='store_true', help='replace an earlier result, once this one is done'
    )
    parser.set_defaults(written=False)
    args = parser.parse_args(argv)
    if not (args.out or args.dry_run):
        parser.error('name a destination by --out, or look at the plan by --dry-run')
    return args


def describe(conversion: Conversion, whole: bool) -> None:
    """Prints what was found and what will be done with it."""
    for role, path in conversion.sources.items():
        print(f'{role:<6} {path}\n       {conversion.described[role]}')
    counts = count_moves(conversion.moves)
    summary = ', '.join(f'{n} {how}' for how, n in counts.items() if n)
    print(
        f'result {conversion.layout}: {len(conversion.kept)} tensors, '
        f'{conversion.nbytes / 1e9:.2f} GB: {summary}'
    )
    shown, gone = 10, 0
    for move in conversion.moves:
        source = ' + '.join(dict.fromkeys(entry.name for entry in move.sources))
        if whole:
            target = '(dropped)' if move.how == 'dropped' else move.name
            print(f'{move.how:<10} {source} -> {target} {move.dtype} {list(move.shape)}')
        elif move.how == 'dropped':
            gone += 1
            if gone <= shown:
                print(f'dropped {source}')
    if gone > shown:
        print(f'dropped {gone - shown} more; --dry-run names them all')
    for note in conversion.notes:
        print(f'note: {note}')
    sys.stdout.flush()


def same_logits(conversion: Conversion, args: argparse.Namespace) -> dict | str:
    """Runs source and result on one prompt, where both can be run; else says why not.

    Raises:
        CheckpointError: their logits differ, and no other type was asked for.
    """
    if conversion.nbytes > LOGITS_BYTES:
        return f'not computed: more than {LOGITS_BYTES / 1e9:.0f} GB'
    source = identify(conversion.sources['source'])
    if source.layout not in ALONE or conversion.layout not in ALONE or not source.has_tower:
        return 'not computed: only a whole model with its tower runs by itself, on both sides'
    script = Path(__file__).with_name('analysis_tools') / 'compare_logits.py'
    command = [sys.executable, script, conversion.sources['source'], args.out]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    lines = done.stdout.strip().splitlines() or ['']
    if not lines[-1].startswith('{'):
        reason = done.stderr.strip().splitlines() or [
            'tools/analysis_tools/compare_logits.py printed nothing'
        ]
        return f'not computed: {reason[-1]}'
    if done.returncode == 1 and not args.dtype:
        raise CheckpointError(
            f'{args.out} gives other logits than its source: {lines[-1]}. Every tensor is as '
            'planned, so the configs differ; compare them, and do not use the result.'
        )
    return json.loads(lines[-1])


def run(args: argparse.Namespace) -> dict:
    """Converts; gives the figures of the last line."""
    start = time.monotonic()
    conversion = prepare_conversion(
        args.source, args.to, args.base, args.tower, args.dtype, args.layout
    )
    describe(conversion, args.dry_run)
    figures = dict(
        layout=conversion.layout,
        source_layout=conversion.described['source'].partition(':')[0],
        tensors=len(conversion.kept),
        bytes=conversion.nbytes,
        **count_moves(conversion.moves),
    )
    if args.out:
        check_write(conversion, args.out, args.overwrite)
    if args.dry_run:
        return figures
    left = find_leftover(args.out)
    if left and not args.resume:
        print(
            f'note: a run that was killed left {left}. Add --resume to go on with it, or delete it.'
        )
    anew = why_not_resumable(conversion, args.out, args.shard_size) if args.resume else ''
    if anew:
        print(f'note: it starts over: {anew}.')
    progress = Progress('convert', conversion.nbytes)
    try:
        write_conversion(
            conversion, args.out, args.overwrite, progress, args.shard_size, args.resume
        )
    finally:
        progress.close()
    args.written = True
    figures |= dict(destination=args.out, seconds=round(time.monotonic() - start, 2))
    if args.verify:
        progress = Progress('convert', 2 * conversion.nbytes)
        try:
            figures['verified'] = verify_conversion(conversion, Path(args.out), progress)
        finally:
            progress.close()
        figures['verified']['logits'] = same_logits(conversion, args)
    return figures | dict(peak_rss_mb=peak_rss_mb())


def what_is_left(args: argparse.Namespace) -> str:
    """Says what an interrupted run leaves at its destination."""
    if args.written:
        return f'interrupted; {args.out} is written and whole, and not verified yet'
    if args.out and Path(args.out).exists() and not args.dry_run:
        return f'interrupted; see {args.out}: it is whole, or what was there before'
    return 'interrupted; nothing was written'


def main(argv: list[str] | None = None) -> int:
    # A polite kill cleans up like a Ctrl-C; Python's default is to die on the spot.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return run_tool(__file__, parse_args, run, argv, stopped=what_is_left)


if __name__ == '__main__':
    sys.exit(main())
