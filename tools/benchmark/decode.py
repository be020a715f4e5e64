#!/usr/bin/env python
"""Times our decoding against transformers' loop, and a batch of images against one at a time.

  python tools/benchmark/decode.py                                   # tiny model, appends a row
  python tools/benchmark/decode.py --checkpoint llava-v1.5-7b --tower clip-336 --device cuda

Decoding: the same language model, embeddings and settings (greedy), in one process: `predict` (the
loop behind inference_model), `chat` (behind ChatSession, one row) and transformers' `generate`,
in turn, medians of all rounds. The tiny model's own work is next to nothing, so what differs is
what a loop costs beside it. Images: the same 16 captioned with batch_size 16 and with 1, from
file to text. The answers must be equal. Rows: tools/benchmark/results/decode.jsonl.
The last line of output is the row. Exit status: 0 done, 2 answers differ or the model is refused.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))
from _cli import make_parser, run_tool

from mmllava.io import provenance

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / 'tests/golden/models'
RESULTS = Path(__file__).parent / 'results' / 'decode.jsonl'
IMAGES = 16
CAPTION_TOKENS = 32


def loops(model: Any, rows: int, length: int, new: int) -> dict[str, Callable[[], list]]:
    """Builds name -> loop that continues ``rows`` prompts of ``length`` by ``new`` tokens."""
    import torch

    from mmllava.generation.stream import stream_ids

    language, tokenizer = model.language, model.tokenizer
    generator = torch.Generator().manual_seed(0)
    embeds = 0.02 * torch.randn(rows, length, language.config.hidden_size, generator=generator)
    embeds = embeds.to(next(language.parameters()))
    mask = torch.ones(rows, length, dtype=torch.long, device=embeds.device)
    settings = dict(do_sample=False, num_beams=1, max_new_tokens=new)

    def transformers() -> list:
        with torch.no_grad():
            return language.lm.generate(
                inputs_embeds=embeds,
                attention_mask=mask,
                do_sample=False,
                max_new_tokens=new,
                eos_token_id=tokenizer.eos_id,
                pad_token_id=tokenizer.pad_id,
            ).tolist()

    def predict() -> list:
        return language.generate(embeds, mask, tokenizer, settings)

    def chat() -> list:
        return [list(stream_ids(language, embeds, language.new_cache(), tokenizer, settings))]

    return dict(
        transformers=transformers, predict=predict, **(dict(chat=chat) if rows == 1 else {})
    )


def measure(runs: dict[str, Callable[[], list]], rounds: int) -> dict[str, float]:
    """Measures tokens or images a second of each, medians; all must give the same.

    Raises:
        RuntimeError: they do not.
    """
    given = {name: run() for name, run in runs.items()}  # also warms up
    first = next(iter(given.values()))
    for name, answer in given.items():
        if answer != first:
            raise RuntimeError(f'{name} gives another answer than {next(iter(given))}.')
    count = sum(len(row) if isinstance(row, list) else 1 for row in first)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: round(count / statistics.median(times), 1) for name, times in seconds.items()}


def captions(model: Any, images: list[str], batch_size: int) -> list[str]:
    """Captions the images in one call."""
    from mmpretrain import ImageCaptionInferencer

    out = ImageCaptionInferencer(model)(images, batch_size=batch_size)
    return [each['pred_caption'] for each in out]


def describe(args: argparse.Namespace) -> dict[str, Any]:
    """Describes where and what was measured."""
    import torch

    cuda = args.device.startswith('cuda')
    return dict(
        **provenance('torch', 'transformers'),
        device=torch.cuda.get_device_name(args.device) if cuda else platform.machine(),
        threads=torch.get_num_threads(),
        checkpoint=Path(args.checkpoint).name,
        rounds=args.rounds,
        new_tokens=args.tokens,
    )


def row_of(args: argparse.Namespace) -> dict[str, Any]:
    """Measures decoding and captioning."""
    import torch

    import mmllava

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = mmllava.load(args.checkpoint, 'caption', tower=args.tower, device=args.device)
    one = measure(loops(model, 1, 64, args.tokens), args.rounds)
    many = measure(loops(model, IMAGES, 64, args.tokens), args.rounds)
    model.generation_cfg['max_new_tokens'] = CAPTION_TOKENS
    files = sorted((GOLDEN / 'images').glob('*.png'))
    images = [str(files[k % len(files)]) for k in range(IMAGES)]
    batches = measure(
        {str(size): lambda size=size: captions(model, images, size) for size in (1, IMAGES)},
        args.rounds,
    )
    return dict(
        one_row_tokens_s=one,
        predict_ratio=round(one['predict'] / one['transformers'], 3),
        chat_ratio=round(one['chat'] / one['transformers'], 3),
        batch_tokens_s=many,
        batch_predict_ratio=round(many['predict'] / many['transformers'], 3),
        images_s=batches,
        batch_speedup=round(batches[str(IMAGES)] / batches['1'], 2),
    )


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('--checkpoint', default=str(GOLDEN / 'llava-v1.5'), help='folder')
    parser.add_argument('--tower', default=None, help='CLIP, where the checkpoint has none inside')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument('--tokens', type=int, default=128, help='new ones of each row')
    parser.add_argument('--out', type=Path, default=RESULTS, help='file to append the row to')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int | dict:
    if args.tower is None and Path(args.checkpoint).parent == GOLDEN:
        args.tower = str(GOLDEN / 'clip-tiny')
    try:
        measured = row_of(args)
    except RuntimeError as error:
        print(f'decode: {error}', file=sys.stderr)
        return 2
    row = {**describe(args), **measured}
    with args.out.open('a', encoding='utf-8') as file:
        file.write(json.dumps(row) + '\n')
    return row


def main(argv: list[str] | None = None) -> int:
    return run_tool(__file__, parse_args, run, argv)


if __name__ == '__main__':
    sys.exit(main())
