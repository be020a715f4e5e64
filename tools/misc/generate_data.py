#!/usr/bin/env python
"""Generates instruction data about images with a teacher, from captions and boxes.

  # COCO's annotations; the key is in OPENAI_API_KEY
  python tools/misc/generate_data.py --captions annotations/captions_train2017.json \\
      --instances annotations/instances_train2017.json --out data/mine \\
      --base-url https://api.openai.com/v1 --model MODEL --limit 1000 --dry-run

  # JSON lines {"id", "image", "captions", "instances": [{"category", "bbox"}]}, a local server
  python tools/misc/generate_data.py --images images.jsonl --out data/mine \\
      --base-url http://localhost:8000/v1 --model MODEL --kinds conversation detail

Without --dry-run it asks, and writes into OUT instruct.json (LLaVA's training JSON, for
tools/misc/check_data.py and tools/train.py), rejected.jsonl (what was thrown away, and why),
report.json, report.png and samples.md. Answers are kept in OUT/cache as they come: the same
command goes on after a kill or a budget, and pays for nothing twice.

The last line of output is one JSON object, for scripts. Exit status: 0 everything was answered,
1 stopped early or some requests have no answer (what there is, is written), 2 refused (the
reason is on stderr).
"""

import argparse
import hashlib
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))
from _cli import make_parser, run_tool

from mmllava.errors import ConfigError
from mmllava.io import write_json, write_json_lines, write_text
from mmllava.teacher import cli, data_report
from mmllava.teacher.generate import Written, generate, requests_of
from mmllava.teacher.image_context import ImageContext, read_coco, read_contexts
from mmllava.teacher.prompts import KINDS, OURS, Recipe, read_recipe

FILES = ('instruct.json', 'rejected.jsonl', 'report.json', 'report.png', 'samples.md')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('--images', type=Path, help='JSON lines of images')
    parser.add_argument('--captions', type=Path, help="COCO's captions_*.json")
    parser.add_argument('--instances', type=Path, help="COCO's instances_*.json")
    parser.add_argument('--out', type=Path, required=True, help='folder to write into')
    parser.add_argument('--kinds', nargs='+', choices=list(KINDS), default=list(KINDS))
    parser.add_argument('--limit', type=int, help='only the first so many images')
    parser.add_argument(
        '--recipes',
        type=Path,
        default=OURS,
        help="instructions and examples, in the layout of LLaVA's playground/data/prompts; "
        'default: our own',
    )
    parser.add_argument('--max-tokens', type=int, default=1024, help='of one answer')
    parser.add_argument('--temperature', type=float, default=0.7, help='below 0: not sent')
    parser.add_argument('--seed', type=int, default=0, help='of drawn questions and <image> sides')
    cli.add_options(parser)
    return parser.parse_args(argv)


def read(args: argparse.Namespace) -> list[ImageContext]:
    if bool(args.images) == bool(args.captions) or bool(args.captions) != bool(args.instances):
        raise ConfigError('expected --images, or --captions and --instances together.')
    for name in ('limit', 'max_tokens'):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ConfigError(f'--{name.replace("_", "-")} is {value}, expected 1 or more.')
    if args.images:
        return read_contexts(args.images)[: args.limit]
    return read_coco(args.captions, args.instances)[: args.limit]


def describe(args: argparse.Namespace, recipes: dict[str, Recipe], model: str) -> dict[str, Any]:
    """Describes the settings that identify a run."""
    text = repr([recipes[kind] for kind in recipes])
    return dict(
        recipes=hashlib.sha256(text.encode()).hexdigest(),
        kinds=list(recipes),
        model=model,
        max_tokens=args.max_tokens,
        temperature=args.temperature,
        seed=args.seed,
        source=[str(p.absolute()) for p in (args.images, args.captions, args.instances) if p],
    )


def write(written: Written, figures: dict[str, Any], args: argparse.Namespace) -> None:
    write_json(args.out / 'instruct.json', written.rows)
    write_json_lines(args.out / 'rejected.jsonl', [*written.rejected, *written.failed])
    write_json(args.out / 'report.json', figures)
    write_text(args.out / 'samples.md', data_report.write_samples(written, args.seed))
    data_report.draw(written, figures['kinds'], args.out / 'report.png')


def tell(figures: dict[str, Any]) -> None:
    for kind, found in figures['kinds'].items():
        parts = ', '.join(f'{reason} {count}' for reason, count in found['counts'].items())
        print(f'{kind}: {parts}')
    if figures['teacher']['stopped']:
        print(f'generate_data: {figures["teacher"]["stopped"]}', file=sys.stderr)


def run(args: argparse.Namespace) -> dict[str, Any] | tuple[int, dict[str, Any]]:
    images = read(args)
    recipes = {kind: read_recipe(kind, args.recipes) for kind in args.kinds}
    teacher = cli.open_teacher(args, args.out / 'cache')
    temperature = args.temperature if args.temperature >= 0 else None
    requests = requests_of(images, recipes, args.max_tokens, temperature)
    if args.dry_run:
        asked = list(requests)
        cli.print_first(asked)
        return cli.estimate(asked, teacher)
    cli.claim(args.out, 'generate_data', describe(args, recipes, teacher.endpoint.model), FILES)
    written = generate(images, recipes, teacher, requests, args.seed)
    figures = dict(
        rows=len(written.rows),
        rejected=len(written.rejected),
        without_answer=len(written.failed),
        not_asked=written.not_asked,
        kinds=data_report.summarise(written),
        teacher=cli.spent(teacher),
    )
    write(written, figures, args)
    tell(figures)
    status = 1 if written.failed or written.not_asked else 0
    return status, {name: figures[name] for name in figures if name != 'kinds'}


def main(argv: list[str] | None = None) -> int:
    return run_tool(
        __file__,
        parse_args,
        run,
        argv,
        stopped='interrupted; what was answered is kept, and the same command goes on.',
    )


if __name__ == '__main__':
    sys.exit(main())
