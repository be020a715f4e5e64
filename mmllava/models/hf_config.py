"""Reads config.json for a model's sizes, compares it with a model, and writes it.

`mmllava.models.detect` builds a whole model's config from it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmllava.checkpoints.layouts import config_schema
from mmllava.checkpoints.storage.hub import fetch, is_hub_id
from mmllava.errors import CheckpointError, ConfigError
from mmllava.images.anyres import read_grid

_SUFFIXES = ('.pth', '.pt', '.bin', '.safetensors')
_NAMES = {  # of the language model's family -> LLaVA's (model_type, architecture)
    'llama': ('llava', 'LlavaLlamaForCausalLM'),
    'mistral': ('llava_mistral', 'LlavaMistralForCausalLM'),
}
_STORED = (
    *('vocab_size', 'hidden_size', 'intermediate_size', 'num_hidden_layers'),
    *('num_attention_heads', 'num_key_value_heads', 'max_position_embeddings', 'rms_norm_eps'),
    *('rope_theta', 'rope_scaling', 'hidden_act', 'attention_bias', 'initializer_range'),
)
_TOWER = (
    *('hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads'),
    *('image_size', 'patch_size', 'hidden_act', 'layer_norm_eps'),
)
# Settings that change answers and no shape reveals: config.json key -> transformers' default.
_COMPARED = dict(
    num_attention_heads=None,
    rms_norm_eps=1e-6,
    hidden_act='silu',
    rope_theta=10000.0,
    rope_scaling=None,
)


def find_checkpoint(name_or_path: str | Path) -> Path:
    """A weight file or folder; a hub id's folder is fetched.

    What is neither comes back as it is, for the reader to name.

    Raises:
        CheckpointError: the hub did not give it.
    """
    path = Path(name_or_path).expanduser()
    if path.exists() or path.suffix in _SUFFIXES or not is_hub_id(str(name_or_path)):
        return path
    return fetch(name_or_path)


def read_config(name_or_path: str | Path) -> dict[str, Any]:
    """The ``config.json`` of a folder or hub id.

    Raises:
        CheckpointError: there is no such folder and the hub did not give it, or the
            file is not JSON.
        ConfigError: it has no ``config.json``.
    """
    file = fetch(name_or_path, ('config.json',)) / 'config.json'
    if not file.is_file():
        raise ConfigError(
            f'no config.json in {file.parent}, so the sizes cannot be read there. Write them '
            'into the config, or give a folder that has one.'
        )
    return config_schema.read_config(file.parent)


def plain_rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """A language model's ``config.json`` with ``rope_theta`` and ``rope_scaling``.

    transformers 5 writes both into ``rope_parameters`` and no longer by themselves.
    """
    rope = config.get('rope_parameters')
    if not isinstance(rope, dict):
        return dict(config)
    scaling = {key: value for key, value in rope.items() if key != 'rope_theta'}
    kind = scaling.get('rope_type', 'default')
    plain = dict(rope_scaling=None if kind == 'default' else scaling)
    if 'rope_theta' in rope:
        plain['rope_theta'] = rope['rope_theta']
    return {**config, **plain}


def pick_sizes(kind: str, given: dict[str, Any], read: dict[str, Any], needed: tuple) -> dict:
    """Sizes from a config, over those of a ``config.json``.

    Raises:
        ConfigError: a needed one is in neither.
    """
    sizes = {**read, **given}
    missing = [name for name in needed if sizes.get(name) is None]
    if missing:
        raise ConfigError(
            f'{kind} lacks {", ".join(missing)}. Write them into the config, or set '
            'name_or_path to a folder whose config.json has them.'
        )
    return sizes


def check_stored_config(
    model: Any, stored: Mapping[str, Any], file: Path, for_training: bool = False
) -> None:
    """Compares a checkpoint's config with the model, where shapes cannot tell.

    Args:
        model: a `Llava`.
        stored: as LLaVA's ``config.json`` has it; ``{}`` where there is none.
        file: where it was read, for the message.
        for_training: training starts from it, and may see images otherwise than it did.

    Raises:
        CheckpointError: names each setting that differs.
    """
    if not stored:
        return
    stored = plain_rope(stored)
    if stored.get('image_grid_pinpoints'):
        stored['image_grid_pinpoints'] = read_grid(stored['image_grid_pinpoints'])
    sizes = model.language.sizes
    ours = {name: sizes.get(name) or default for name, default in _COMPARED.items()}
    ours['num_key_value_heads'] = sizes.get('num_key_value_heads') or sizes['num_attention_heads']
    ours['mm_use_im_start_end'] = model.prompt_builder.use_im_start_end
    ours['mm_vision_select_layer'] = model.vision_tower.select_layer
    ours['mm_vision_select_feature'] = model.vision_tower.select_feature
    if not for_training:
        ours['mm_patch_merge_type'] = model.mm_patch_merge_type
    if model.image_grid_pinpoints and not for_training:
        ours['image_grid_pinpoints'] = model.image_grid_pinpoints
    towers = (str(model.vision_tower.pretrained), str(stored.get('mm_vision_tower')))
    if all(is_hub_id(t) and not Path(t).is_dir() for t in towers):  # a local folder may hold any
        ours['mm_vision_tower'] = towers[0]
    wrong = [
        f'{name} is {stored[name]!r} there and {value!r} in the config'
        for name, value in ours.items()
        if stored.get(name) is not None and stored[name] != value
    ]
    if wrong:
        raise CheckpointError(
            f'{file} is of another model: {"; ".join(wrong)}. Use the config of this checkpoint, '
            'or correct the setting in it.'
        )


def to_llava_config(model: Any, aspect: str | None) -> dict[str, Any]:
    """The findings of ``config.json`` about a model.

    ``mmllava_template`` and ``mm_vision_config`` are ours: without them the template is told
    from the rest, and how many attention heads a tower of no hub has, from nothing.

    Args:
        model: a `Llava`.
        aspect: how its images are made square, or ``anyres``; None where that is not known.
    """
    lm, tower = model.language.lm, model.vision_tower
    stored = plain_rope(lm.config.to_dict())
    kind, architecture = _NAMES[lm.config.model_type]
    tokenizer = model.tokenizer
    depth = model.projector.depth
    card = {name: stored[name] for name in _STORED if name in stored}
    if kind == 'llava_mistral':
        card['sliding_window'] = stored['sliding_window']
    card |= dict(
        architectures=[architecture],
        model_type=kind,
        torch_dtype=str(lm.lm_head.weight.dtype).removeprefix('torch.'),
        tie_word_embeddings=lm.config.tie_word_embeddings,
        use_cache=True,
        bos_token_id=tokenizer.bos_id,
        eos_token_id=tokenizer.eos_id,
        tokenizer_model_max_length=model.max_tokens or model.language.max_tokens,
        tokenizer_padding_side='right',
        use_mm_proj=True,
        mm_projector_type='linear' if depth == 1 else f'mlp{depth}x_gelu',
        mm_hidden_size=tower.hidden_size,
        mm_vision_config={name: getattr(tower.config, name) for name in _TOWER},
        mm_vision_select_layer=tower.select_layer,
        mm_vision_select_feature=tower.select_feature,
        mm_patch_merge_type=model.mm_patch_merge_type,
        mm_use_im_start_end=model.prompt_builder.use_im_start_end,
        mm_use_im_patch_token='<im_patch>' in model.prompt_builder.extra_tokens,
        mmllava_template=model.prompt_builder.template_name,
    )
    if tower.pretrained is not None and is_hub_id(str(tower.pretrained)):
        card['mm_vision_tower'] = str(tower.pretrained)
    if any(p.requires_grad for p in tower.parameters()):
        card['unfreeze_mm_vision_tower'] = True
    if aspect is not None:
        card['image_aspect_ratio'] = aspect
    if model.image_grid_pinpoints:
        card['image_grid_pinpoints'] = [list(pair) for pair in model.image_grid_pinpoints]
    return card
