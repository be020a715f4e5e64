#!/usr/bin/env python
"""Captions images, or answers a question about each.

  python tools/inference.py llava-7b-v1_caption CHECKPOINT demo/cat-dog.png
  python tools/inference.py llava-7b-v1.5_vqa CHECKPOINT photos/ --question 'What is it?'

  # without a config: a LLaVA folder or hub id, or tiny, the model in the package
  python tools/inference.py tiny demo/cat-dog.png

A config is given by its name (mmpretrain's list_models shows them) or its file; CHECKPOINT is
a .pth or .safetensors file, a folder, or a hub id. A LLaVA folder captions, or, given
--question, answers in a word.

One JSON object a line for each image. Exit status: 0 done; 2 refused, or an image failed (the
reason is on stderr, the others are done); 130 stopped.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))
from _cli import add_cfg_options, make_parser, merge_options, parse_cfg_options, run_tool
from _model import add_model_arguments, open_model, split_names

from mmllava.errors import ConfigError, PromptError
from mmllava.io import write_json


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    add_model_arguments(parser)
    parser.add_argument('--question', help='for a model of task vqa')
    parser.add_argument('--batch-size', type=int, default=1, help='images at a time')
    parser.add_argument('--out', type=Path, help='write all predictions here, as JSON')
    parser.add_argument('--show-dir', type=Path, help='save each image with its text here')
    add_cfg_options(parser, 'change the model')
    return parser.parse_args(argv)


def model_options(pairs: list[str]) -> dict[str, Any]:
    """Parses --cfg-options into settings of the model: a.b=3 becomes {'a': {'b': 3}}."""
    from mmengine.config import Config

    nested = Config()
    merge_options(nested, parse_cfg_options(pairs))
    return nested.to_dict()


def find_images(names: list[str]) -> list[Path]:
    from mmllava.images.load import list_images

    found: list[Path] = []
    for name in names:
        found += list_images(name) if Path(name).is_dir() else [Path(name)]
    return found


def predict(
    args: argparse.Namespace, model: Any, images: list[Path], records: list[dict[str, Any]]
) -> None:
    """Appends one record for each image, and prints it; one that fails has its ``error``."""
    from tqdm import tqdm

    from mmllava.apis.inferencers import CaptionInferencer, VQAInferencer

    caption = model.prompt_builder.task == 'caption'
    inferencer = (CaptionInferencer if caption else VQAInferencer)(model)
    asked = {} if caption else {'question': args.question}
    with tqdm(total=len(images), unit='img') as bar:
        for start in range(0, len(images), args.batch_size):
            batch = [dict(img=p, **asked) for p in images[start : start + args.batch_size]]
            for record in inferencer.predict_all(batch, show_dir=args.show_dir):
                records.append(record)
                if 'error' in record:
                    bar.write(f'inference: {record["error"]}', file=sys.stderr)
                else:
                    bar.write(json.dumps(record, ensure_ascii=False), file=sys.stdout)
            bar.update(len(batch))


def run(args: argparse.Namespace) -> int:
    if args.batch_size < 1:
        raise ConfigError(f'--batch-size is {args.batch_size}, expected 1 or more.')
    if args.out and args.out.is_dir():
        raise ConfigError(f'--out is {args.out}, a folder; expected the name of a JSON file.')
    split_names(args)
    if not args.images:
        raise ConfigError('no image was named; expected one or more, or folders of them.')
    images = find_images(args.images)  # before the weights: a typing error costs no minute
    options = model_options(args.cfg_options)
    model = open_model(args, 'vqa' if args.question else 'caption', options)
    if model.prompt_builder.task == 'vqa' and not args.question:
        raise PromptError(f'{args.model} answers questions: give --question.')
    if model.prompt_builder.task == 'caption' and args.question:
        raise PromptError(f'{args.model} captions: drop --question, or use a model of task vqa.')
    records: list[dict[str, Any]] = []
    try:
        predict(args, model, images, records)
    finally:  # also of a run that is stopped half-way
        if args.out and records:
            write_json(args.out, records)
    failed = sum('error' in record for record in records)
    if failed:
        print(f'inference: {failed} of {len(records)} images failed', file=sys.stderr)
    return 2 if failed else 0


def main(argv: list[str] | None = None) -> int:
    return run_tool(
        __file__, parse_args, run, argv, stopped='stopped; what was done is printed, and in --out'
    )


if __name__ == '__main__':
    sys.exit(main())
