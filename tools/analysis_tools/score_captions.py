#!/usr/bin/env python
"""Scores captions against references: BLEU-1..4, ROUGE-L, CIDEr, equal to pycocoevalcap's.

  # files as COCO has them: annotations, and a list of {"image_id", "caption"}
  python tools/analysis_tools/score_captions.py captions_val2014.json predictions.json

  # METEOR too (needs pycocoevalcap and Java); each image's scores into a file
  python tools/analysis_tools/score_captions.py refs.json preds.json --metrics CIDEr METEOR \\
      --out scores.json

The last line of output is one JSON object, for scripts. A metric that cannot
run is named on stderr and under "failed"; the others are reported all the same.
Exit status: 0 done, 2 refused (the reason is on stderr).
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))
from _cli import make_parser, run_tool

from mmllava.errors import ConfigError
from mmllava.io import write_json
from mmllava.metrics.captions import (
    DEFAULT_METRICS,
    SCORERS,
    read_captions,
    read_references,
    score_captions,
)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('references', type=Path, help='COCO caption annotation file')
    parser.add_argument('predictions', type=Path, help='list of {"image_id", "caption"}')
    parser.add_argument(
        '--metrics', nargs='+', default=DEFAULT_METRICS, help=f'of {", ".join(SCORERS)}'
    )
    parser.add_argument('--out', type=Path, help="new JSON file with each image's scores too")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> dict[str, Any]:
    if args.out and not args.out.resolve().parent.is_dir():
        raise ConfigError(f'no folder {args.out.parent} to write into. Make it, or check --out.')
    references = read_references(args.references)
    scores = score_captions(references, read_captions(args.predictions), args.metrics)
    if args.out:
        per_image = [dict(image_id=key, **row) for key, row in scores.per_image.items()]
        content = dict(corpus=scores.corpus, failed=scores.failed, per_image=per_image)
        write_json(args.out, content, indent=1)
    for metric, reason in scores.failed.items():
        print(f'score_captions: no {metric}: {reason}', file=sys.stderr)
    for name, score in scores.corpus.items():
        print(f'{name:<8} {score:.4f}')
    return dict(images=len(scores.per_image), **scores.corpus, failed=scores.failed)


def main(argv: list[str] | None = None) -> int:
    return run_tool(__file__, parse_args, run, argv)


if __name__ == '__main__':
    sys.exit(main())
