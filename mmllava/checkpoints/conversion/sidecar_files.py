"""Makes the files next to a converted model's weights: config, tokenizer, processor."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmllava.checkpoints.layouts import hf_config, llava_files
from mmllava.checkpoints.layouts.delta import EMBED
from mmllava.checkpoints.layouts.hf_processor import processor_files, processor_name
from mmllava.checkpoints.layouts.hf_tokenizer import plain_files, tokenizer_files
from mmllava.checkpoints.layouts.tensor_plan import TensorPlan
from mmllava.checkpoints.layouts.to_canonical import Model
from mmllava.checkpoints.storage.hub import TOKENIZER_FILES
from mmllava.errors import CheckpointError

#: Every name that a conversion may write beside shards, so that it may replace it.
NAMES = (
    *TOKENIZER_FILES,
    'config.json',
    'generation_config.json',
    'preprocessor_config.json',
    'processor_config.json',
    'chat_template.jinja',
    'manifest.json',
)


def files_beside(
    model: Model,
    layout: str,
    moves: list[TensorPlan],
    vision: Mapping[str, Any] | None,
    sources: Mapping[str, Path],
) -> tuple[dict[str, bytes], str]:
    """Makes the files of a result's folder.

    Args:
        model: by the original's names.
        layout: of the result.
        moves: of the result.
        vision: sizes of the tower; None where they are not known.
        sources: role -> path.

    Returns:
        name -> content, and why a folder cannot be made ('' where it can).

    Raises:
        CheckpointError: transformers' files cannot be made.
    """
    source = sources['source']
    if layout == 'mmpretrain':
        return {}, 'mmpretrain reads one file; name a destination that ends in .pth.'
    if not model.config:
        return {}, (
            f'{source} has no config.json, so a folder made of it could not be loaded. Name the '
            "source's whole folder, or the LLaVA folder with its config by --base, or a "
            'destination that ends in .pth.'
        )
    config = _typed(model.config, moves)
    if layout == 'projector':
        return {'config.json': _text(config)}, ''
    if model.words is None:
        return {}, (
            f'{source} has no {" or ".join(TOKENIZER_FILES[:2])}, so a folder made of '
            'it would have no tokenizer. Download it, or name a destination that ends in .pth.'
        )
    if layout == 'hf':
        return _hf(model, config, vision, source), ''
    rows = model.kept[EMBED].shape[0]
    files = plain_files(model.words, model.added, rows)
    folder = sources.get('tower', source)
    files |= (
        llava_files.read_files(folder, ('preprocessor_config.json',)) if folder.is_dir() else {}
    )
    ids = llava_files.special_ids(model.words, rows)
    files['config.json'] = _text(config)
    generation = llava_files.merged_generation_config(model.words, ids, rows)
    files['generation_config.json'] = _text({**generation, **ids})
    return files, ''


def _hf(
    model: Model, config: dict[str, Any], vision: Mapping[str, Any] | None, source: Path
) -> dict[str, bytes]:
    """Makes the files that transformers needs."""
    if vision is None:
        raise CheckpointError(
            f'how many attention heads the vision tower in {source} has stands in no file there. '
            'Name by --tower a folder with the config.json of its CLIP; the weights stay.'
        )
    rows, tiles = model.kept[EMBED].shape[0], 'model.image_newline' in model.kept
    made = hf_config.from_original(config, rows, vision, tiles)
    files = tokenizer_files(model.words, rows, processor_name(tiles))
    files |= processor_files(config, made, rows)
    ids = llava_files.special_ids(model.words, rows)
    generation = {k: ids.get(k, config.get(k)) for k in ('bos_token_id', 'eos_token_id')}
    files['config.json'] = _text(made)
    files['generation_config.json'] = _text({**generation, 'pad_token_id': rows + 1})
    return files


def _typed(config: dict[str, Any], moves: list[TensorPlan]) -> dict[str, Any]:
    """The config with the type that the language model's tensors have."""
    kinds = {move.dtype for move in moves if move.how != 'dropped' and len(move.shape) == 2}
    config = {k: v for k, v in config.items() if k != 'dtype'}
    return config | dict(torch_dtype=kinds.pop()) if len(kinds) == 1 else config


def _text(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + '\n').encode()
