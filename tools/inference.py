#!/usr/bin/env python
"""Captions pictures, or answers a question about each.

  python tools/inference.py llava-7b-v1_caption CHECKPOINT demo/cat-dog.png
  python tools/inference.py llava-7b-v1.5_vqa CHECKPOINT photos/ --question 'What is it?'

The first argument is a name (mmpretrain's list_models shows them) or a config
file; CHECKPOINT is a .pth or .safetensors file, a folder, or a hub id.

Exit status: 0 done; 2 refused, or a picture failed (the reason is on stderr,
the others are done).
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from mmllava.errors import ConfigError, ImageError, MMLlavaError, PromptError


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('model', help='name or config file')
    parser.add_argument('checkpoint', help='weight file, folder, or hub id')
    parser.add_argument('images', nargs='+', metavar='IMAGE_OR_FOLDER', help='pictures')
    parser.add_argument('--question', help='for a model of task vqa')
    parser.add_argument('--device', help='cpu, cuda, cuda:1; default: a GPU if there is one')
    parser.add_argument('--dtype', help='float32, float16, bfloat16; default: by device')
    parser.add_argument('--batch-size', type=int, default=1, help='pictures at a time')
    parser.add_argument('--out', type=Path, help='write all predictions here, as JSON')
    parser.add_argument('--show-dir', type=Path, help='save each picture with its text here')
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE', help='of the model')
    return parser.parse_args(argv)


def load_model(args: argparse.Namespace) -> Any:
    import torch
    from mmengine.config import Config, DictAction

    import mmllava

    device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    options: dict[str, Any] = dict(dtype=args.dtype) if args.dtype else {}
    if args.cfg_options:
        parser = argparse.ArgumentParser()
        parser.add_argument('--cfg-options', nargs='+', action=DictAction)
        given = parser.parse_args(['--cfg-options', *args.cfg_options]).cfg_options
        nested = Config()
        nested.merge_from_dict(given)  # generation_cfg.num_beams=3 -> a dict in a dict
        options |= nested.to_dict()
    if args.model.endswith('.py'):
        if not Path(args.model).is_file():
            raise ConfigError(
                f'no config file at {args.model}; configs/llava/README.md lists ours.'
            )
    elif args.model.lower() not in mmllava.list_models():
        from mmllava.errors import unknown_name

        raise unknown_name('model', args.model, mmllava.list_models('llava'))
    return mmllava.get_model(args.model, pretrained=args.checkpoint, device=device, **options)


def find_pictures(names: list[str]) -> list[Path]:
    from mmllava.images.load import list_images

    found: list[Path] = []
    for name in names:
        found += list_images(name) if Path(name).is_dir() else [Path(name)]
    return found


def predict(
    args: argparse.Namespace, model: Any, pictures: list[Path], records: list[dict[str, Any]]
) -> None:
    """Adds one record for each picture, and prints it; one that fails carries its ``error``."""
    from tqdm import tqdm

    from mmllava.apis.inferencers import CaptionInferencer, VQAInferencer

    inferencer = (CaptionInferencer if model.prompt_builder.task == 'caption' else VQAInferencer)(
        model
    )
    asked = {'question': args.question} if model.prompt_builder.task == 'vqa' else {}
    with tqdm(total=len(pictures), unit='img') as bar:
        for start in range(0, len(pictures), args.batch_size):
            batch = [dict(img=p, **asked) for p in pictures[start : start + args.batch_size]]
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
    pictures = find_pictures(args.images)  # before the weights: a typing error costs no minute
    model = load_model(args)
    if model.prompt_builder.task == 'vqa' and not args.question:
        raise PromptError(f'{args.model} answers questions: give --question.')
    if model.prompt_builder.task == 'caption' and args.question:
        raise PromptError(f'{args.model} captions: drop --question, or use a model of task vqa.')
    records: list[dict[str, Any]] = []
    try:
        predict(args, model, pictures, records)
    finally:  # also of a run that is stopped half-way
        if args.out and records:
            from mmllava.evaluation.prediction_store import write_json

            write_json(records, args.out)
    failed = sum('error' in record for record in records)
    if failed:
        print(f'inference: {failed} of {len(records)} pictures failed', file=sys.stderr)
    return 2 if failed else 0


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        return run(args)
    except (MMLlavaError, ImageError, OSError) as error:
        print(f'inference: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('inference: stopped; what was done is printed, and in --out', file=sys.stderr)
        return 130


if __name__ == '__main__':
    sys.exit(main())
