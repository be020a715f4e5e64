"""LLaVA's config.json <-> that of transformers' Llava and LlavaNext.

transformers has one config for each part; LLaVA's is a LLaMA's with further keys (``mm_*``).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmllava.checkpoints.layouts import llava_files
from mmllava.checkpoints.layouts.tied import says_tied
from mmllava.errors import CheckpointError

#: transformers pads the vocabulary to a multiple of this, once <image> and <pad> are added.
PAD_ROWS_TO = 64
NEW_WORDS = ('<image>', '<pad>')
# What transformers takes where a config says nothing; released configs say little.
_LLAMA = dict(
    hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32,
    rms_norm_eps=1e-6, rope_theta=10000.0, max_position_embeddings=2048, hidden_act='silu',
)  # fmt: skip
_MISTRAL = dict(
    _LLAMA, intermediate_size=14336, num_key_value_heads=8, max_position_embeddings=131072,
    sliding_window=4096,
)  # fmt: skip
_TEXT = (
    *_MISTRAL,
    *('rope_scaling', 'head_dim', 'attention_bias', 'attention_dropout', 'initializer_range'),
    *('use_cache', 'pretraining_tp', 'bos_token_id', 'eos_token_id', 'pad_token_id'),
)
_VISION = (
    *('hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads'),
    *('patch_size', 'image_size', 'hidden_act', 'layer_norm_eps'),
)
_TYPES = {'llama': 'llava', 'mistral': 'llava_mistral'}  # of the language model -> LLaVA's


def to_original(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """LLaVA's config of a model in transformers' layout.

    Raises:
        CheckpointError: a setting that no LLaVA has.
    """
    text, vision = dict(config.get('text_config') or {}), config.get('vision_config') or {}
    kind = text.get('model_type', 'llama')
    layer, act = config.get('vision_feature_layer', -2), config.get('projector_hidden_act', 'gelu')
    bias = config.get('multimodal_projector_bias', True)
    if kind not in _TYPES or not isinstance(layer, int) or act != 'gelu' or not bias:
        raise CheckpointError(
            f'{path}/config.json says text model {kind}, vision_feature_layer {layer}, '
            f'projector_hidden_act {act}, multimodal_projector_bias {bias}; expected llama or '
            'mistral, one number, gelu, true. No LLaVA v1.5 or v1.6 is like this.'
        )
    rope = text.pop('rope_parameters', None) or {}  # transformers 5 has both in one
    if rope:
        text['rope_theta'] = rope.get('rope_theta', _LLAMA['rope_theta'])
        rest = {k: v for k, v in rope.items() if k != 'rope_theta'}
        text['rope_scaling'] = None if rest.get('rope_type', 'default') == 'default' else rest
    made = dict(_MISTRAL if kind == 'mistral' else _LLAMA)
    made |= {key: text[key] for key in _TEXT if key in text}
    for key, number in (('bos_token_id', 1), ('eos_token_id', 2)):
        made[key] = config.get(key) or text.get(key) or number
    made.pop('pad_token_id', None)  # <pad> has no row outside transformers' layout
    made.setdefault('num_key_value_heads', made['num_attention_heads'])
    sides = {key: vision[key] for key in _VISION if key in vision}
    sides.setdefault('hidden_act', 'quick_gelu')
    sides.setdefault('layer_norm_eps', 1e-5)
    tiles = config.get('model_type') == 'llava_next'
    made |= dict(
        architectures=['LlavaMistralForCausalLM' if kind == 'mistral' else 'LlavaLlamaForCausalLM'],
        model_type=_TYPES[kind],
        vocab_size=text.get('vocab_size', 32064),
        torch_dtype=config.get('dtype') or config.get('torch_dtype') or 'float16',
        tie_word_embeddings=says_tied(config),
        use_mm_proj=True,
        mm_projector_type='mlp2x_gelu',
        mm_hidden_size=vision.get('hidden_size', 1024),
        mm_vision_config=sides,
        mm_vision_select_layer=layer,
        mm_vision_select_feature='cls_patch'
        if config.get('vision_feature_select_strategy') == 'full'
        else 'patch',
        mm_use_im_start_end=False,
        mm_use_im_patch_token=False,
        image_aspect_ratio='anyres' if tiles else 'pad',
        mm_patch_merge_type='spatial_unpad' if tiles else 'flat',
    )
    name = _clip_name(sides)
    if name:
        made['mm_vision_tower'] = name
    if tiles:
        grid = _grid(config.get('image_grid_pinpoints'))
        made['image_grid_pinpoints'] = [[w, h] for h, w in grid]  # theirs: (height, width)
        made['unfreeze_mm_vision_tower'] = True
    return made


def _grid(pairs: Any) -> list[list[int]]:
    """The resolutions of v1.6; LLaVA's own configs may have them as text.

    Raises:
        CheckpointError: they are none.
    """
    if isinstance(pairs, str):
        numbers = [int(n) for n in re.findall(r'\d+', pairs)]
        pairs = [numbers[k : k + 2] for k in range(0, len(numbers), 2)]
    sound = isinstance(pairs, list) and all(
        isinstance(p, list) and len(p) == 2 and all(isinstance(n, int) for n in p) for p in pairs
    )
    if not sound or not pairs:
        raise CheckpointError(
            f'config.json says image_grid_pinpoints {pairs!r}; expected the resolutions of v1.6, '
            'two numbers each. Put the config that belongs to the weights there.'
        )
    return pairs


def _clip_name(vision: Mapping[str, Any]) -> str | None:
    """The hub's name of the released CLIP-L of this image size."""
    if vision.get('hidden_size') != 1024 or vision.get('num_hidden_layers') != 24:
        return None
    side = {224: '', 336: '-336'}.get(vision.get('image_size'))
    return None if side is None else f'openai/clip-vit-large-patch14{side}'


def vocabulary_rows(config: Mapping[str, Any], folder: Path, rows: int) -> int:
    """Rows of the embedding that LLaVA has too: those before <image>.

    Args:
        config: transformers' own.
        folder: with the tokenizer files.
        rows: of the embedding on disk.

    Raises:
        CheckpointError: if words of the user's own come after <image>, or config and
            tokenizer give <image> different places.
    """
    words = llava_files.token_ids(folder)
    image = config.get('image_token_index', config.get('image_token_id'))
    expected = words.get(NEW_WORDS[0], image)
    if image is None:
        image = expected
    elif type(image) is not int or image != expected:
        raise CheckpointError(
            f'{folder}/config.json says image_token_index {image!r}, and <image> is token '
            f'{expected!r} of its tokenizer. Put the config and the tokenizer of the same model '
            "there; if they are, write the tokenizer's number into config.json."
        )
    if image is None or image >= rows or image < (llava_files.vocabulary_size(folder) or 0):
        return rows
    later = [w for w, k in words.items() if image < k < rows and w not in (*NEW_WORDS, '[PAD]')]
    if later:
        raise CheckpointError(
            f'{folder} has words after <image> (id {image}): {", ".join(later[:3])}. LLaVA has no '
            'rows there, and they would be lost. Remove them, or keep transformers for this model.'
        )
    return image


def padded_rows(rows: int) -> int:
    """Rows of transformers' embedding for a vocabulary of ``rows``."""
    return -(-(rows + len(NEW_WORDS)) // PAD_ROWS_TO) * PAD_ROWS_TO


def from_original(
    config: Mapping[str, Any], rows: int, vision: Mapping[str, Any], tiles: bool
) -> dict[str, Any]:
    """transformers' config of a LLaVA v1.5 or v1.6.

    Args:
        config: LLaVA's own.
        rows: of the vocabulary, without <image> and padding.
        vision: sizes of the tower, as ``llava_files.describe_tower`` gives them.
        tiles: whether it is v1.6.
    """
    tied = says_tied(config)
    mistral = 'mistral' in str(config.get('model_type')).lower()
    text = {key: config[key] for key in _TEXT if config.get(key) is not None}
    text |= dict(
        model_type='mistral' if mistral else 'llama',
        architectures=['MistralForCausalLM' if mistral else 'LlamaForCausalLM'],
        vocab_size=padded_rows(rows),
        pad_token_id=rows + 1,
        tie_word_embeddings=tied,
    )
    if mistral:
        text['sliding_window'] = config.get('sliding_window')
    full = config.get('mm_vision_select_feature') == 'cls_patch'
    name = 'LlavaNextForConditionalGeneration' if tiles else 'LlavaForConditionalGeneration'
    made = dict(
        architectures=[name],
        model_type='llava_next' if tiles else 'llava',
        image_token_index=rows,
        image_seq_length=(vision['image_size'] // vision['patch_size']) ** 2 + full,
        multimodal_projector_bias=True,
        projector_hidden_act='gelu',
        pad_token_id=rows + 1,
        text_config=text,
        tie_word_embeddings=tied,
        torch_dtype=config.get('torch_dtype', 'float16'),
        vision_config=dict(vision, model_type='clip_vision_model', projection_dim=768),
        vision_feature_layer=config.get('mm_vision_select_layer', -2),
        vision_feature_select_strategy='full' if full else 'default',
    )
    if tiles:
        grid = _grid(config.get('image_grid_pinpoints'))
        made['image_grid_pinpoints'] = [[h, w] for w, h in grid]  # theirs: (height, width)
    return made
