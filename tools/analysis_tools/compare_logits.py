#!/usr/bin/env python
"""Do two checkpoints give the same logits? One picture of noise and eight words, in float32.

  python tools/analysis_tools/compare_logits.py weights/llava-v1.5-7b-hf weights/llava-v1.5-7b

Folders in LLaVA's own, in this package's or in transformers' layout, with the vision tower
inside. Those of transformers run in transformers' own classes, the others in this package's
model; both are built without memory first, and one of them is in memory at a time. It needs
twice the bytes of a float16 checkpoint. The last line of output is one JSON object.
Exit status: 0 equal up to rounding, 1 different, 2 refused (the reason is on stderr).
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmllava.checkpoints import identify, read_config
from mmllava.checkpoints.layouts.hf_config import vocabulary_rows
from mmllava.errors import CheckpointError, MMLlavaError

NAME = 'logits'
WORDS = 8
#: Of the largest logit; what another order of the same sums costs in float32.
TOLERANCE = 1e-4


def noise(shape: tuple[int, ...]) -> Tensor:
    """The same pixels in every call."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def ours(folder: Path, config: dict[str, Any], depth: int) -> Tensor:
    """Logits (L, V) of this package's model."""
    import mmllava  # noqa: F401 - registers the parts
    from mmllava.models import Llava

    vision = config.get('mm_vision_config')
    if not vision:
        raise CheckpointError(
            f'{folder}/config.json has no mm_vision_config, so the sizes of its tower are not '
            'known. Convert it with --tower first.'
        )
    model = Llava(
        vision_encoder=dict(type='mmllava.CLIPVisionTower', **vision),
        lang_encoder=dict(type='mmllava.LanguageModel', name_or_path=str(folder)),
        tokenizer=dict(type='mmllava.LlamaTokenizer', name_or_path=str(folder)),
        mm_proj_depth=depth,
        mm_vision_select_layer=config.get('mm_vision_select_layer', -2),
        mm_patch_merge_type=config.get('mm_patch_merge_type', 'flat'),
        image_grid_pinpoints=config.get('image_grid_pinpoints'),
        use_im_start_end=bool(config.get('mm_use_im_start_end')),
        dtype='float32',
    )
    model.load_weights(folder)
    side = vision['image_size']
    features = model.projector(model.vision_tower(noise((1, 3, side, side))))
    words = model.language.embed(torch.arange(3, 3 + WORDS)[None])
    embeds = torch.cat([features, words], 1)
    return model.language(embeds, torch.ones(embeds.shape[:2], dtype=torch.long))[0]


def theirs(folder: Path, config: dict[str, Any]) -> Tensor:
    """Logits (L, V) of transformers' model, without its padding rows."""
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
    words = whole.get_input_embeddings()(torch.arange(3, 3 + WORDS)[None])
    embeds = torch.cat([model.multi_modal_projector(features), words], 1)
    hidden = model.language_model(inputs_embeds=embeds).last_hidden_state
    rows = vocabulary_rows(config, folder, whole.get_output_embeddings().weight.shape[0])
    return whole.lm_head(hidden)[0, :, :rows]


@torch.no_grad()
def logits(folder: Path) -> Tensor:
    """Logits (L, V) of a folder of any layout that can be run."""
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
    return (
        theirs(folder, config)
        if kind.layout == 'hf'
        else ours(folder, config, kind.projector_depth)
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog=NAME, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('first', type=Path, help='folder')
    parser.add_argument('second', type=Path, help='folder')
    args = parser.parse_args(argv)
    try:
        first = logits(args.first)
        second = logits(args.second)
    except (MMLlavaError, OSError) as error:
        print(f'{NAME}: {error}', file=sys.stderr)
        return 2
    if first.shape != second.shape:
        print(json.dumps(dict(logits=[list(first.shape), list(second.shape)], same=False)))
        return 1
    gap, size = (first - second).abs().max().item(), first.abs().max().item()
    same = gap <= TOLERANCE * size
    print(json.dumps(dict(max_difference=gap, max_logit=size, logits=first.numel(), same=same)))
    return int(not same)


if __name__ == '__main__':
    sys.exit(main())
