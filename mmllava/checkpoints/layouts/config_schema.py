"""Reads a model folder's config.json and checks the values that sizes and answers depend on.

A file from elsewhere may say anything: a list for a number, ten million layers, a key that asks
for a part that is not built here. All of it is refused before anything is built, for loading and
converting alike.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmllava.checkpoints.storage.reader import read_json
from mmllava.errors import CheckpointError, MMLlavaError

__all__ = ['check_config', 'read_config']


class _Rule(NamedTuple):
    """A test of one value, and the noun phrase for what passes it."""

    holds: Callable[[Any], bool]
    expected: str


def _count(limit: int) -> _Rule:
    """Accepts whole numbers from 1 to ``limit``."""
    return _Rule(
        lambda value: type(value) is int and 1 <= value <= limit,
        f'a whole number from 1 to {limit:,}',
    )


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_grid(value: Any) -> bool:
    """Accepts a text, which `mmllava.images.anyres.read_grid` reads, or pairs of pixel counts."""
    if not isinstance(value, list):
        return isinstance(value, str)
    return len(value) <= 10_000 and all(
        isinstance(pair, (list, tuple))
        and len(pair) == 2
        and all(type(side) is int and 1 <= side <= 100_000 for side in pair)
        for pair in value
    )


_TEXT = _Rule(lambda value: isinstance(value, str), 'a string')
_FLAG = _Rule(lambda value: isinstance(value, bool), 'true or false')
_OBJECT = _Rule(lambda value: isinstance(value, dict), 'an object')
_POSITIVE = _Rule(lambda value: _is_number(value) and value > 0, 'a positive number')
_EPSILON = _Rule(lambda value: _is_number(value) and 0 < value < 1, 'a number between 0 and 1')
_INDEX = _Rule(
    lambda value: type(value) is int and abs(value) <= 1000, 'a whole number from -1,000 to 1,000'
)
_IDS = _Rule(
    lambda value: (
        type(value) is int or (isinstance(value, list) and all(type(id_) is int for id_ in value))
    ),
    'a token id, or a list of them',
)
_ACTIVATIONS = (
    *('silu', 'swish', 'gelu', 'gelu_new', 'gelu_fast', 'gelu_pytorch_tanh', 'quick_gelu'),
    *('relu', 'relu2', 'tanh'),
)
_ROPE_TYPES = ('default', 'linear', 'dynamic', 'yarn', 'longrope', 'llama3')

#: key -> rule; null counts as absent. The limits are above every released model's by far.
_RULES = dict(
    # a language model
    vocab_size=_count(10_000_000),
    hidden_size=_count(1_000_000),
    intermediate_size=_count(10_000_000),
    num_hidden_layers=_count(1_000),
    num_attention_heads=_count(10_000),
    num_key_value_heads=_count(10_000),
    head_dim=_count(100_000),
    max_position_embeddings=_count(1_000_000_000),
    sliding_window=_count(1_000_000_000),
    rms_norm_eps=_EPSILON,
    rope_theta=_POSITIVE,
    rope_scaling=_OBJECT,
    rope_parameters=_OBJECT,
    hidden_act=_Rule(lambda value: value in _ACTIVATIONS, f'one of {", ".join(_ACTIVATIONS)}'),
    attention_bias=_FLAG,
    model_type=_TEXT,
    bos_token_id=_IDS,
    eos_token_id=_IDS,
    # a vision tower
    image_size=_count(100_000),
    patch_size=_count(10_000),
    layer_norm_eps=_EPSILON,
    # LLaVA's own
    mm_vision_tower=_TEXT,
    mm_vision_config=_OBJECT,
    mm_vision_select_layer=_INDEX,
    mm_vision_select_feature=_TEXT,
    mm_hidden_size=_count(1_000_000),
    mm_patch_merge_type=_TEXT,
    mm_use_im_start_end=_FLAG,
    mm_use_im_patch_token=_FLAG,
    mmllava_template=_TEXT,
    image_aspect_ratio=_TEXT,
    image_grid_pinpoints=_Rule(_is_grid, 'a list of [width, height] in pixels, or its text'),
    # transformers' layout
    text_config=_OBJECT,
    vision_config=_OBJECT,
)
#: key -> (what it asks for and is not built here, values that do not ask for it)
_UNSUPPORTED: dict[str, tuple[str, tuple[Any, ...]]] = dict(
    s2=('a tower that reads several scales (S2)', ()),
    mm_resampler_type=('a resampler of image features', ()),
    mm_spatial_pool_mode=('pooled video frames', ()),
    mm_spatial_pool_stride=('pooled video frames', (1,)),
    mm_pooling_position=('pooled video frames', ()),
    mm_newline_position=('newlines between video frames', ('one_token',)),
    add_faster_video=('fast frames beside slow ones', ()),
    add_time_instruction=('the time of each video frame', ()),
    quantization_config=('weights that were quantised before they were saved', ()),
)
_NESTED = ('text_config', 'vision_config', 'mm_vision_config')


def read_config(path: str | Path) -> dict[str, Any]:
    """Reads and checks the ``config.json`` of a model folder; ``{}`` for a file or without one.

    Raises:
        CheckpointError: it is not JSON, or `check_config` refuses it.
    """
    file = Path(path) / 'config.json'
    if not file.is_file():
        return {}
    config = read_json(file)
    check_config(config, file)
    return config


def check_config(
    config: Mapping[str, Any], where: str | Path, error: type[MMLlavaError] = CheckpointError
) -> None:
    """Refuses a value that no model can have, by its key.

    Args:
        config: of a LLaVA, a language model or a vision tower, or part of one.
        where: it comes from, for the message.
        error: class of the error to raise.

    Raises:
        MMLlavaError: of class ``error``; names the key, the value and what was expected.
    """
    for key, rule in _RULES.items():
        value = config.get(key)
        if value is not None and not rule.holds(value):
            raise error(
                f'{where}: {key} is {_short(value)}, expected {rule.expected}. Correct it, or '
                'take the file of the checkpoint again.'
            )
    for key, (asked, harmless) in _UNSUPPORTED.items():
        if config.get(key) and config[key] not in harmless:
            raise error(
                f'{where}: {key} is {_short(config[key])}, which asks for {asked}; that is not '
                'supported, and without it the answers would be wrong. Use a checkpoint without '
                'it.'
            )
    _check_heads(config, where, error)
    if config.get('rope_scaling'):
        _check_rope(config['rope_scaling'], f'{where}: rope_scaling', error)
    for key in _NESTED:
        if config.get(key):
            check_config(config[key], f'{where}, {key}', error)


def _check_rope(scaling: Any, where: str, error: type[MMLlavaError]) -> None:
    """Refuses a scaling of rotary positions of an unknown type, or without its factor."""
    name = scaling.get('rope_type', scaling.get('type'))
    if name not in _ROPE_TYPES:
        raise error(
            f'{where} has rope_type {_short(name)}, expected one of {", ".join(_ROPE_TYPES)}. '
            'Correct it, or take the file of the checkpoint again.'
        )
    factor = scaling.get('factor')
    needed = name in ('linear', 'dynamic', 'yarn', 'llama3')
    if (needed or factor is not None) and not (_is_number(factor) and 1 <= factor <= 1000):
        raise error(
            f'{where} has factor {_short(factor)}, expected a number from 1 to 1,000. Correct it, '
            'or take the file of the checkpoint again.'
        )


def _check_heads(config: Mapping[str, Any], where: str | Path, error: type[MMLlavaError]) -> None:
    """Refuses widths that cannot be divided among the heads, and patches larger than the image."""
    width, heads = config.get('hidden_size'), config.get('num_attention_heads')
    shared = config.get('num_key_value_heads')
    if width and heads and not config.get('head_dim') and width % heads:
        raise error(
            f'{where}: hidden_size {width} cannot be divided among {heads} attention heads. One '
            'of the two is wrong.'
        )
    if heads and shared and heads % shared:
        raise error(
            f'{where}: num_attention_heads {heads} is no multiple of num_key_value_heads '
            f'{shared}. One of the two is wrong.'
        )
    image, patch = config.get('image_size'), config.get('patch_size')
    if image and patch and patch > image:
        raise error(
            f'{where}: patch_size {patch} is larger than image_size {image}. One of the two is '
            'wrong.'
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'
