#!/usr/bin/env python
"""Times a training step on packed rows against padded ones, on lengths like mix665k's.

  python tools/benchmark/packing.py            # a small random LLaMA on this CPU; appends rows

Forward and backward of the language model's loss on the same random embeddings, in one
process, in turn; tokens/s count real tokens only, and seconds of one thread's processor time,
which other work on the machine does not change. Lengths: the sets of mix665k by their
numbers of rows, an image is 576 tokens, cut at 2,048; how much text a row of a set has is
assumed (`SETS`), drawn log-normal. Two orders: shuffled, and batches grouped by length and
modality as v1.5 trains. Both losses must agree. Rows: tools/benchmark/results/packing.jsonl.
The last line of output is the last row. Exit status: 0 done, 1 the losses differ.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))
from _cli import make_parser, run_tool

from mmllava.io import provenance

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / 'results' / 'packing.jsonl'
IMAGE_TOKENS, LIMIT = 576, 2048  # tokens
#: rows in mix665k, tokens of text in the median row (assumed), whether it has an image
SETS = {
    'LLaVA': (157_712, 250, True),
    'ShareGPT': (40_688, 1200, False),
    'VQAv2': (82_783, 150, True),
    'GQA': (72_140, 250, True),
    'OKVQA': (8_998, 80, True),
    'OCR-VQA': (80_000, 150, True),
    'A-OKVQA': (66_160, 120, True),
    'TextCaps': (21_953, 90, True),
    'RefCOCO': (48_447, 300, True),
    'VG': (86_417, 400, True),
}


def draw_lengths(count: int, seed: int) -> list[int]:
    """Draws the lengths of ``count`` samples in tokens; negative for text only."""
    import numpy as np

    draw = np.random.default_rng(seed)
    numbers = np.array([rows for rows, _, _ in SETS.values()], float)
    kinds = draw.choice(len(SETS), count, p=numbers / numbers.sum())
    lengths = []
    for kind in kinds:
        _, median, image = list(SETS.values())[kind]
        text = int(median * np.exp(0.5 * draw.standard_normal()))
        total = min(LIMIT, max(40, text) + IMAGE_TOKENS * image)
        lengths.append(total if image else -total)
    return lengths


def batches_of(lengths: list[int], order: str, size: int) -> list[list[int]]:
    """Splits lengths in tokens into batches; ``order`` is ``shuffled`` or ``grouped``."""
    import torch

    from mmllava.training.samplers import group_by_modality

    indices: Any = range(len(lengths))
    if order == 'grouped':
        indices = group_by_modality(lengths, size, 8, torch.Generator().manual_seed(0))
    rows = [abs(lengths[k]) for k in indices]
    batches = [rows[k : k + size] for k in range(0, len(rows), size)]
    # Across the whole epoch: a grouped one ends with its leftovers.
    return batches[:: max(1, len(batches) // 4)][:4]


def step(language: Any, lengths: list[int], side: str) -> tuple[float, float]:
    """Runs forward and backward; returns processor seconds and the loss."""
    import torch

    from mmllava.models.splice import collate

    generator = torch.Generator().manual_seed(sum(lengths))
    width, words = language.config.hidden_size, language.config.vocab_size
    rows = [
        (
            torch.randn(n, width, generator=generator),
            torch.randint(words, (n,), generator=generator),
        )
        for n in lengths
    ]
    language.zero_grad()
    start = time.process_time()
    batch = collate(rows, side)
    loss = language.loss(batch.embeds, batch.mask, batch.labels, batch.positions)
    loss.backward()
    return time.process_time() - start, loss.item()


def measure(language: Any, batches: list[list[int]]) -> dict[str, Any]:
    """Computes medians over the batches, and the largest difference of two losses."""
    seconds: dict[str, list[float]] = dict(right=[], packed=[])
    apart = []
    for batch in [batches[0], *batches]:  # the first one warms up
        found = {side: step(language, batch, side) for side in seconds}
        apart.append(abs(found['right'][1] - found['packed'][1]))
        for side in seconds:
            seconds[side].append(found[side][0])
    tokens = [sum(batch) for batch in batches]
    slots = [len(batch) * max(batch) for batch in batches]
    rates = {s: sum(tokens) / sum(times[1:]) for s, times in seconds.items()}
    ratios = [p / q for p, q in zip(seconds['right'][1:], seconds['packed'][1:], strict=True)]
    return dict(
        padding=round(1 - sum(tokens) / sum(slots), 3),
        padded_tokens_per_s=round(rates['right']),
        packed_tokens_per_s=round(rates['packed']),
        ratio=round(rates['packed'] / rates['right'], 3),
        median_ratio=round(statistics.median(ratios), 3),
        loss_difference=max(apart),
    )


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('--batch-size', type=int, default=8, help='rows of a batch')
    parser.add_argument('--hidden', type=int, default=256)
    parser.add_argument('--layers', type=int, default=4)
    parser.add_argument('--results', type=Path, default=RESULTS, help='file to append to')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    import torch

    from mmllava.models import LanguageModel

    torch.manual_seed(0)
    torch.set_num_threads(1)
    made = provenance('torch', 'transformers')  # before a row makes the tree another
    language = LanguageModel(
        vocab_size=1000,
        hidden_size=args.hidden,
        intermediate_size=args.hidden * 11 // 4,
        num_hidden_layers=args.layers,
        num_attention_heads=max(1, args.hidden // 64),
    )
    worst = 0.0
    lengths = draw_lengths(64 * args.batch_size, seed=0)
    for order in ('shuffled', 'grouped'):
        row = dict(
            **made,
            device=platform.machine(),
            threads=torch.get_num_threads(),
            hidden=args.hidden,
            layers=args.layers,
            batch_size=args.batch_size,
            order=order,
            **measure(language, batches_of(lengths, order, args.batch_size)),
        )
        worst = max(worst, row['loss_difference'])
        with open(args.results, 'a') as file:
            file.write(json.dumps(row) + '\n')
        print(json.dumps(row))
    return int(worst > 1e-4)


def main(argv: list[str] | None = None) -> int:
    return run_tool(__file__, parse_args, run, argv)


if __name__ == '__main__':
    sys.exit(main())
