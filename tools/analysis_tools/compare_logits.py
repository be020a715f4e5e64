#!/usr/bin/env python
"""Compares the logits of two checkpoints: one image of noise and eight tokens, in float32.

  python tools/analysis_tools/compare_logits.py weights/llava-v1.5-7b-hf weights/llava-v1.5-7b

Folders in LLaVA's own, in this package's or in transformers' layout, with the vision tower
inside. Those of transformers run in transformers' own classes, the others in this package's
model; both are built without memory first, and one of them is in memory at a time. It needs
twice the bytes of a float16 checkpoint. The last line of output is one JSON object.
Exit status: 0 equal up to rounding, 1 different, 2 refused (the reason is on stderr).
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.append(str(Path(__file__).parents[1]))
from _cli import make_parser, run_tool

from mmllava.checkpoints import identify, read_config
from mmllava.checkpoints.layouts.hf_config import vocabulary_rows
from mmllava.errors import CheckpointError

TOKENS = 8
#: Of the largest logit; what another order of the same sums costs in float32.
TOLERANCE = 1e-4


def noise(shape: tuple[int, ...]) -> Tensor:
    """Draws the same pixels in every call."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def ours(folder: Path) -> Tensor:
    """Computes the logits (L, V) of this package's model."""
    import mmllava  # noqa: F401 - registers the parts
    from mmllava.models.detect import config_from_checkpoint
    from mmllava.registry import MODELS

    found = config_from_checkpoint(folder)
    model = MODELS.build(dict(found.model, dtype='float32'))
    model.load_weights(folder)
    features = model.projector(model.vision_tower(noise((1, 3, found.size_px, found.size_px))))
    tokens = model.language.embed(torch.arange(3, 3 + TOKENS)[None])
    embeds = torch.cat([features, tokens], 1)
    return model.language(embeds, torch.ones(embeds.shape[:2], dtype=torch.long))[0]


def theirs(folder: Path, config: dict[str, Any]) -> Tensor:
    """Computes the logits (L, V) of transformers' model, without its padding entries."""
    import transformers

    name = config['architectures'][0]
    if name not in ('LlavaForConditionalGeneration', 'LlavaNextForConditionalGeneration'):
        raise CheckpointError(
            f"{folder}/config.json says {name}; expected transformers' Llava or LlavaNext."
        )
    whole = getattr(transformers, name).from_pretrained(folder, dtype=torch.float32).eval()
    model, side = whole.model, config['vision_config']['image_size']
    states = model.vision_tower(noise((1, 3, side, side)), output_hidden_states=True).hidden_states
    features = states[config.get('vision_feature_layer', -2)]
    if config.get('vision_feature_select_strategy', 'default') == 'default':
        features = features[:, 1:]
    tokens = whole.get_input_embeddings()(torch.arange(3, 3 + TOKENS)[None])
    embeds = torch.cat([model.multi_modal_projector(features), tokens], 1)
    hidden = model.language_model(inputs_embeds=embeds).last_hidden_state
    rows = vocabulary_rows(config, folder, whole.get_output_embeddings().weight.shape[0])
    return whole.lm_head(hidden)[0, :, :rows]


@torch.no_grad()
def logits(folder: Path) -> Tensor:
    """Computes the logits (L, V) of a folder of any layout that can be run."""
    kind, config = identify(folder), read_config(folder)
    if kind.layout not in ('hf', 'original', 'mmllava') or not config:
        raise CheckpointError(
            f'{folder} is {kind.layout}: {kind.reason} Expected a whole model in the layout hf, '
            'original or mmllava, with its config.json. Convert it first.'
        )
    if not kind.has_tower:
        raise CheckpointError(
            f'{folder} has no vision tower inside. Convert it with --tower first.'
        )
    return theirs(folder, config) if kind.layout == 'hf' else ours(folder)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('first', type=Path, help='folder')
    parser.add_argument('second', type=Path, help='folder')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> tuple[int, dict[str, Any]]:
    first, second = logits(args.first), logits(args.second)
    if first.shape != second.shape:
        return 1, dict(logits=[list(first.shape), list(second.shape)], same=False)
    gap, size = (first - second).abs().max().item(), first.abs().max().item()
    same = gap <= TOLERANCE * size
    figures = dict(max_difference=gap, max_logit=size, logits=first.numel(), same=same)
    return int(not same), figures


def main(argv: list[str] | None = None) -> int:
    return run_tool(__file__, parse_args, run, argv)


if __name__ == '__main__':
    sys.exit(main())
