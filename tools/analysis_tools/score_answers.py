#!/usr/bin/env python
"""Scores answers to a benchmark that are on disk already, whoever wrote them.

  # LLaVA's own answers file, {"question_id", "text"} a line
  python tools/analysis_tools/score_answers.py configs/benchmarks/textvqa.py answers.jsonl

  # captions in COCO's results format; also write what the server takes
  python tools/analysis_tools/score_answers.py configs/benchmarks/nocaps_val.py captions.json \\
      --out-dir sent/ --cfg-options test_dataloader.dataset.data_root=/sets/nocaps

LLaVA's own files are known by their ids and prompts: TextVQA, POPE, MME, MM-Vet and the rounds
of MMBench too.

A question without an answer is wrong, an image without a caption is left out; both are
counted as "missing", and the first are named. No model and no image is needed.

The last line of output is one JSON object, for scripts. Exit status: 0 done, 2 refused.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))
from _cli import add_cfg_options, make_parser, read_config, run_tool

from mmllava.errors import ConfigError

SHOWN = 5  # of the ids without an answer


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('config', help='of configs/benchmarks')
    parser.add_argument('answers', type=Path, help='.jsonl, or a .json list or object')
    parser.add_argument('--out-dir', type=Path, help="folder for the server's file")
    parser.add_argument(
        '--model-id',
        help="who answered, for LLaVA-Bench's judge (default: model_id in the file, else its name)",
    )
    add_cfg_options(parser)
    return parser.parse_args(argv)


def load_dataset(args: argparse.Namespace) -> Any:
    """Loads the config's dataset section, with the command line's changes."""
    from mmllava.evaluation.benchmark_config import is_benchmark

    cfg = read_config(args.config, args.cfg_options, 'docs/benchmarks.md')
    if not is_benchmark(cfg):
        raise ConfigError(f'{args.config} is no benchmark; expected one of configs/benchmarks.')
    return cfg.test_dataloader.dataset


def run(args: argparse.Namespace) -> dict[str, Any]:
    import mmllava  # noqa: F401  before mmpretrain: it mends what new transformers broke
    from mmllava.benchmarks.answer_files import answered_by, read_answers
    from mmllava.benchmarks.registry import get_benchmark
    from mmllava.benchmarks.submission import write_submission
    from mmllava.registry import DATASETS

    built = DATASETS.build(load_dataset(args))
    benchmark, items = get_benchmark(built.benchmark), built.items
    answers = read_answers(args.answers, items, built.benchmark)
    missing = answers.count(None)
    if missing == len(items):
        raise ConfigError(f'{args.answers} answers none of the {missing} questions of the set.')
    if args.out_dir and benchmark.submit:
        rest = built.unasked
        every, name = [*answers, *[None] * len(rest)], args.model_id or answered_by(args.answers)
        files = benchmark.files([*items, *rest], every, name)
        for path in write_submission(files, args.out_dir):
            print(f'written: {path}')
    if missing:
        ids = [item.id for item, answer in zip(items, answers, strict=True) if answer is None]
        print(f'{missing} of {len(items)} have no answer, the first are {ids[:SHOWN]}')
    scores = {}
    if benchmark.score and items[0].truth is not None:
        scores = benchmark.score(items, answers)
    elif not args.out_dir:
        raise ConfigError(
            f'{benchmark.title} is scored by a server or a judge; --out-dir writes what it takes.'
        )
    for name, score in scores.items():
        print(f'{name:<20} {score:.4f}')
    return dict(items=len(items), missing=missing, **scores)


def main(argv: list[str] | None = None) -> int:
    return run_tool(__file__, parse_args, run, argv)


if __name__ == '__main__':
    sys.exit(main())
