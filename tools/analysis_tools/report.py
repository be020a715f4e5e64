#!/usr/bin/env python
"""Makes a page of a run: scores, protocol, the worst, failed and random samples with images.

  python tools/analysis_tools/report.py work_dirs/llava-7b-v1.5_caption
  python tools/analysis_tools/report.py work_dirs/a --out a.html --png a.png --count 24 --by ROUGE_L

The page is one HTML file with everything in it. --png draws the worst samples on one
image, to send. The last line of output is one JSON object. Exit status: 0 done, 2
refused (the reason is on stderr).
"""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from _cli import make_parser, run_tool

from mmllava.errors import ConfigError
from mmllava.io import atomic_path, write_text


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('run', type=Path, help='work folder of a run of tools/test.py')
    parser.add_argument('--out', type=Path, help='default: report.html in that folder')
    parser.add_argument('--png', type=Path, help='also draw the worst samples here')
    parser.add_argument('--count', type=int, default=12, help='samples of each kind (default: 12)')
    parser.add_argument('--by', help='the score that the worst are the worst by: CIDEr, ...')
    parser.add_argument('--seed', type=int, default=0, help='of the random samples (default: 0)')
    args = parser.parse_args(argv)
    if args.count < 1:
        parser.error(f'--count is {args.count}, expected 1 or more')
    return args


def run(args: argparse.Namespace) -> dict[str, str]:
    from mmllava.evaluation.report import choose, make_html, make_sheet
    from mmllava.evaluation.runs import read_run

    found = read_run(args.run)
    out = args.out or args.run / 'report.html'
    for path, suffix in ((out, '.html'), (args.png, '.png')):
        if path and path.suffix.lower() != suffix:
            raise ConfigError(f'{path} does not end in {suffix}, which is what would be written.')
    choice = choose(found, args.count, args.by, args.seed)
    write_text(out, make_html(found, choice))
    if args.png:
        with atomic_path(args.png) as part:
            make_sheet(found, choice).save(part, 'PNG')
    return dict(report=str(out), **(dict(png=str(args.png)) if args.png else {}))


def main(argv: list[str] | None = None) -> int:
    return run_tool(__file__, parse_args, run, argv)


if __name__ == '__main__':
    sys.exit(main())
