"""Derives a model's config from an original LLaVA folder, or from mmpretrain's config.

What is decided here is decided by config.json, tensor names and tokenizer files;
what a folder is called says nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmllava.checkpoints.layouts.config_schema import read_config
from mmllava.checkpoints.layouts.identify import Kind, kind_of, read_weights
from mmllava.checkpoints.layouts.keymaps import TOWER, to_original
from mmllava.checkpoints.layouts.llava_files import describe_tower
from mmllava.checkpoints.storage.hub import is_hub_id
from mmllava.checkpoints.storage.tensor_entry import TensorEntry
from mmllava.errors import CheckpointError, ConfigError, unknown_name
from mmllava.images.anyres import read_grid
from mmllava.images.clip import ASPECTS
from mmllava.models import hf_config
from mmllava.models.tiles import MERGE_TYPES
from mmllava.prompts.tokenizer import LlamaTokenizer

_LARGE = dict(
    hidden_size=1024,
    intermediate_size=4096,
    num_hidden_layers=24,
    num_attention_heads=16,
    patch_size=14,
)
#: The towers that released checkpoints name, so that nothing is fetched to know their sizes.
TOWERS = {
    'openai/clip-vit-large-patch14': dict(_LARGE, image_size=224),
    'openai/clip-vit-large-patch14-336': dict(_LARGE, image_size=336),
}
#: The CLIP behind a ViT of mmpretrain's own configs, by arch, patch_size and img_size.
_VITS = {
    ('l', 14, 224): 'openai/clip-vit-large-patch14',
    ('l', 14, 336): 'openai/clip-vit-large-patch14-336',
}
#: What to do with a checkpoint that is not LLaVA as its authors store it.
ADVICE = {
    'delta': 'Merge it with LLaMA first: python tools/model_converters/llava-delta2mmpre.py '
    'BASE DELTA MERGED',
    'hf': 'Convert it: python tools/convert.py FOLDER --to original --out NEW',
    'mmpretrain': 'Convert it: python tools/convert.py FILE --to original --out NEW',
    'projector': 'Put it on its language model: python tools/convert.py FOLDER --base LLM '
    '--to original --out NEW',
    'lora': 'Merge it: python tools/convert.py FOLDER --base LLM --to original --out NEW',
    'partial': 'Load it with the config of its run, get_model(CONFIG, pretrained=FOLDER), or merge '
    'it: python tools/convert.py FOLDER --base BASE --to original --out NEW',
    'llama': 'Name a LLaVA checkpoint; this is what one is built on',
    'clip': 'Give it as tower=, beside a LLaVA checkpoint',
    'mmllava': 'Load it with the config that it was trained with: get_model(CONFIG, '
    'pretrained=FILE)',
}


@dataclass(frozen=True)
class DetectedModel:
    """A model's config as detected in its folder.

    Args:
        model: config of a `mmllava.models.Llava`.
        aspect: how images are made square, or ``anyres``.
        size_px: side of what the tower sees.
        reasons: what was found and where, a line each.
    """

    model: dict[str, Any]
    aspect: str
    size_px: int
    reasons: tuple[str, ...]


def config_from_checkpoint(folder: Path, tower: str | Path | None = None) -> DetectedModel:
    """Reads headers, config.json and tokenizer files of an original LLaVA folder.

    Args:
        folder: with weights, ``config.json`` and ``tokenizer.model``; v0 to v1.6, in the
            authors' names or (``tools/convert.py --to mmllava``) in ours.
        tower: CLIP, a folder or hub id, in the place of the one that ``config.json``
            names. Where the checkpoint has its own inside, those weights stay and
            only the number of heads is read here.

    Raises:
        CheckpointError: it is another kind of checkpoint, or config.json is missing.
        ConfigError: config.json asks for what LLaVA v0 to v1.6 does not have.
    """
    entries, config = read_weights(folder), read_config(folder)
    kind = kind_of(entries, folder)
    if kind.layout not in ('original', 'mmllava') or (kind.layout == 'mmllava' and not config):
        raise CheckpointError(
            f'{folder} is not a LLaVA folder as its authors store it, but layout {kind.layout}: '
            f'{kind.reason} {ADVICE[kind.layout]}.'
        )
    if not config:
        raise CheckpointError(
            f'{folder} has no config.json, which says how its parts fit together. Put it there, '
            'or use get_model with a config: get_model(CONFIG, pretrained=PATH).'
        )
    sees, tower_reason = _tower(entries, config, kind, tower)
    aspect, grid, aspect_reason = _images(config)
    tokenizer = LlamaTokenizer(folder)
    template, template_reason = _template(config, kind, tokenizer)
    start_end = bool(config.get('mm_use_im_start_end'))
    merge = config.get('mm_patch_merge_type') or 'flat'
    if merge not in MERGE_TYPES:
        raise unknown_name('mm_patch_merge_type in config.json', str(merge), MERGE_TYPES)
    model = dict(
        type='mmllava.Llava',
        tokenizer=dict(type='mmllava.LlamaTokenizer', name_or_path=str(folder)),
        vision_encoder=dict(type='mmllava.CLIPVisionTower', **sees),
        lang_encoder=dict(
            type='mmllava.LanguageModel', name_or_path=str(folder), vocab_size=kind.rows
        ),
        mm_proj_depth=kind.projector_depth,
        mm_patch_merge_type=merge,
        **grid,
        use_im_start_end=start_end,
        template=template,
    )
    reasons = (
        f'layout     {kind.layout}: {kind.reason}',
        f'projector  {kind.projector_depth} linear layer(s), by its tensors'
        + _contradiction(config, kind),
        f'tower      {tower_reason}',
        f'images     {aspect_reason}',
        f'tokens     {"<im_start> and <im_end>" if start_end else "nothing"} around an image, '
        f'by mm_use_im_start_end; {kind.rows:,} rows',
        f'template   {template}: {template_reason}; template=NAME changes it',
    )
    size_px = sees.get('image_size') or _size_of(sees['name_or_path'])
    return DetectedModel(model, aspect, size_px, reasons)


def _contradiction(config: Mapping[str, Any], kind: Kind) -> str:
    """Names a ``mm_projector_type`` that the tensors contradict; they decide."""
    named = str(config.get('mm_projector_type') or 'linear')
    depth = dict(linear=1).get(named, named.removeprefix('mlp').removesuffix('x_gelu'))
    if str(depth) == str(kind.projector_depth):
        return ''
    return f'; config.json says {named!r}, which they are not'


def _tower(
    entries: Mapping[str, TensorEntry],
    config: Mapping[str, Any],
    kind: Kind,
    given: str | Path | None,
) -> tuple[dict[str, Any], str]:
    """Settings of the vision tower, and the reason."""
    named, layer = config.get('mm_vision_tower'), config.get('mm_vision_select_layer')
    reads = dict(
        # v0 named no layer, and its code read the last one.
        select_layer=-1 if layer is None else layer,
        select_feature=config.get('mm_vision_select_feature') or 'patch',
    )
    layer = f'hidden state {reads["select_layer"]} is read'
    if kind.has_tower:
        own = _own_tower(entries, config, kind.layout, given)
        return {**own, **reads}, f'inside the checkpoint; {layer}'
    if given is not None:
        return dict(name_or_path=str(given), **reads), f'{given}, as given; {layer}'
    if not named or not is_hub_id(str(named)):
        raise CheckpointError(
            f'the checkpoint has no vision tower inside, and its config.json names '
            f'{named!r}, which is no hub id and is not looked for elsewhere. Give the folder of '
            'the CLIP that it was trained with: tower=FOLDER.'
        )
    reason = f'{named}, by mm_vision_tower: none is inside; tower=FOLDER replaces it; {layer}'
    if named in TOWERS:
        return dict(TOWERS[named], pretrained=named, **reads), reason
    return dict(name_or_path=named, **reads), reason


def _own_tower(
    entries: Mapping[str, TensorEntry],
    config: Mapping[str, Any],
    layout: str,
    given: str | Path | None,
) -> dict[str, Any]:
    """Sizes of the tower inside a checkpoint; only the number of heads is in no tensor."""
    inside = TOWER.removesuffix('vision_model.')
    originals = {to_original(name, layout): entry.shape for name, entry in entries.items()}
    shapes = {n.removeprefix(inside): s for n, s in originals.items() if n.startswith(inside)}
    named = str(config.get('mm_vision_tower'))
    stored = config.get('mm_vision_config') or TOWERS.get(named, {})
    if given is not None:
        stored = hf_config.read_config(given)
        stored = stored.get('vision_config', stored)
    if not stored.get('num_attention_heads'):
        raise CheckpointError(
            'the vision tower is inside the checkpoint, and its number of attention heads is in '
            f'no tensor; config.json names {named!r}. Give the folder of the '
            'CLIP that it was tuned from: tower=FOLDER.'
        )
    return describe_tower(stored, shapes, Path('the checkpoint'))


def _size_of(tower: str) -> int:
    """Side of the image that a tower's ``config.json`` gives, in pixels."""
    config = hf_config.read_config(tower)
    size = config.get('vision_config', config).get('image_size')
    if not isinstance(size, int):
        raise CheckpointError(
            f'the config.json of the vision tower {tower} has no image_size: it is no CLIP. Give '
            'the folder of the CLIP that the checkpoint was trained with: tower=FOLDER.'
        )
    return size


def _images(config: Mapping[str, Any]) -> tuple[str, dict[str, Any], str]:
    """(aspect, settings of the grid, reason)."""
    aspect = config.get('image_aspect_ratio') or 'square'
    if aspect not in (*ASPECTS, 'anyres'):
        raise unknown_name('image_aspect_ratio in config.json', str(aspect), (*ASPECTS, 'anyres'))
    named = config.get('image_aspect_ratio')
    reason = f'{aspect}, by image_aspect_ratio' if named else f'{aspect}: no image_aspect_ratio'
    if aspect != 'anyres':
        return aspect, {}, reason
    grid = read_grid(config.get('image_grid_pinpoints'))
    return aspect, dict(image_grid_pinpoints=grid), f'{reason}, up to {max(map(max, grid))} px'


def _template(config: Mapping[str, Any], kind: Kind, tokenizer: LlamaTokenizer) -> tuple[str, str]:
    """(name of the template, what tells it). Which checkpoint uses what: `TEMPLATES`."""
    if config.get('mmllava_template'):
        return config['mmllava_template'], 'mmllava_template in config.json'
    if 'mistral' in str(config.get('model_type')):
        return 'mistral_instruct', f'model_type {config["model_type"]}'
    if tokenizer.find('<|im_end|>') is not None:
        return 'chatml_direct', 'the tokenizer has <|im_end|>'
    if kind.projector_depth > 1:
        return 'vicuna_v1', 'LLaMA with more than one layer in the projector, v1.5 or v1.6'
    has_patch, has_pad = ('<im_patch>' in tokenizer.added, '[PAD]' in tokenizer.added)
    if config.get('model_type') == 'llama' or (has_patch and has_pad):
        return 'llava_v0', 'one linear layer, and model_type llama or [PAD] and <im_patch>: v0'
    if has_patch and not config.get('mm_use_im_start_end'):
        return 'llava_v0', '<im_patch> without <im_start>: v0 for ScienceQA'
    if not has_patch and not config.get('mm_use_im_start_end'):
        if config.get('rms_norm_eps') == 1e-5 or config.get('max_position_embeddings') == 4096:
            return 'llava_llama_2', 'one linear layer on Llama-2 (rms_norm_eps, context)'
        # Early Llama-2-7B-chat configs say 1e-06 and 2048, as LLaMA's.
        return 'llava_v1', "one linear layer on LLaMA, v1; if on Llama-2-Chat: 'llava_llama_2'"
    return 'llava_v1', 'one linear layer on LLaMA, v1'


def config_from_mmpretrain(
    vision_encoder: Mapping[str, Any], lang_encoder: Mapping[str, Any], tokenizer: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Copies the three component configs of mmpretrain's Llava, its types replaced by ours.

    Raises:
        ConfigError: a vision tower of mmpretrain's that is not OpenAI's CLIP.
    """
    parts = dict(
        vision_encoder=dict(vision_encoder),
        lang_encoder=dict(lang_encoder),
        tokenizer=dict(tokenizer),
    )
    names = {name: part.get('type', '').split('.')[-1] for name, part in parts.items()}
    if names['vision_encoder'] == 'VisionTransformer':
        parts['vision_encoder'] = _clip_of(parts['vision_encoder'])
    if names['lang_encoder'] == 'AutoModelForCausalLM':
        parts['lang_encoder']['type'] = 'mmllava.LanguageModel'
    if names['tokenizer'] in ('AutoTokenizer', 'LlamaTokenizer'):
        parts['tokenizer']['type'] = 'mmllava.LlamaTokenizer'
    return parts


def _clip_of(config: Mapping[str, Any]) -> dict[str, Any]:
    key = (config.get('arch'), config.get('patch_size'), config.get('img_size'))
    if key not in _VITS:
        raise ConfigError(
            f'a VisionTransformer with arch={key[0]!r}, patch_size={key[1]}, img_size={key[2]} '
            "is no tower of LLaVA's. Use type='mmllava.CLIPVisionTower' with its sizes."
        )
    name = _VITS[key]
    return dict(type='mmllava.CLIPVisionTower', **TOWERS[name], pretrained=name)
