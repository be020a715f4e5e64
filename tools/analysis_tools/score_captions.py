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
import json
import os
import sys
import tempfile
from pathlib import Path

from mmllava.errors import MMLlavaError
from mmllava.metrics.captions import (
    DEFAULT_METRICS,
    SCORERS,
    CaptionScores,
    read_captions,
    read_references,
    score_captions,
)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('references', type=Path, help='COCO caption annotation file')
    parser.add_argument('predictions', type=Path, help='list of {"image_id", "caption"}')
    parser.add_argument(
        '--metrics', nargs='+', default=DEFAULT_METRICS, help=f'of {", ".join(SCORERS)}'
    )
    parser.add_argument('--out', type=Path, help="new JSON file with each image's scores too")
    return parser.parse_args(argv)


def write(scores: CaptionScores, path: Path) -> None:
    """Writes the scores whole or not at all."""
    per_image = [dict(image_id=key, **row) for key, row in scores.per_image.items()]
    content = dict(corpus=scores.corpus, failed=scores.failed, per_image=per_image)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
    try:
        with open(handle, 'w', encoding='utf-8') as file:
            json.dump(content, file, indent=1)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    if args.out and not args.out.resolve().parent.is_dir():
        print(f'score_captions: no folder {args.out.parent} to write into.', file=sys.stderr)
        return 2
    try:
        references = read_references(args.references)
        scores = score_captions(references, read_captions(args.predictions), args.metrics)
        if args.out:
            write(scores, args.out)
    except MMLlavaError as error:
        print(f'score_captions: {error}', file=sys.stderr)
        return 2
    except OSError as error:
        print(f'score_captions: cannot write {args.out}: {error.strerror}.', file=sys.stderr)
        return 2
    for metric, reason in scores.failed.items():
        print(f'score_captions: no {metric}: {reason}', file=sys.stderr)
    for name, score in scores.corpus.items():
        print(f'{name:<8} {score:.4f}')
    print(json.dumps(dict(images=len(scores.per_image), **scores.corpus, failed=scores.failed)))
    return 0


if __name__ == '__main__':
    sys.exit(main())
