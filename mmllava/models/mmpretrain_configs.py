"""Component names of mmpretrain's own Llava configs, read as ours."""

from collections.abc import Mapping
from typing import Any

from mmllava.errors import ConfigError

# mmpretrain's ViT arch -> width, MLP width, blocks, heads.
_VIT = {'b': (768, 3072, 12, 12), 'l': (1024, 4096, 24, 16)}
# Where the tower that mmpretrain downloads in its own format comes from.
_CLIP = {
    ('l', 14, 224): 'openai/clip-vit-large-patch14',
    ('l', 14, 336): 'openai/clip-vit-large-patch14-336',
}


def translate(
    vision_encoder: Mapping[str, Any], lang_encoder: Mapping[str, Any], tokenizer: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Copies of the three component configs, upstream's types replaced by ours.

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
        parts['vision_encoder'] = _clip(parts['vision_encoder'])
    if names['lang_encoder'] == 'AutoModelForCausalLM':
        parts['lang_encoder']['type'] = 'mmllava.LanguageModel'
    if names['tokenizer'] in ('AutoTokenizer', 'LlamaTokenizer'):
        parts['tokenizer']['type'] = 'mmllava.LlamaTokenizer'
    return parts


def _clip(config: Mapping[str, Any]) -> dict[str, Any]:
    key = (config.get('arch'), config.get('patch_size'), config.get('img_size'))
    if key not in _CLIP:
        raise ConfigError(
            f'a VisionTransformer with arch={key[0]!r}, patch_size={key[1]}, img_size={key[2]} '
            "is no tower of LLaVA's. Use type='mmllava.CLIPVisionTower' with its sizes."
        )
    width, mlp, blocks, heads = _VIT[key[0]]
    return dict(
        type='mmllava.CLIPVisionTower',
        hidden_size=width,
        intermediate_size=mlp,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        patch_size=key[1],
        image_size=key[2],
        pretrained=_CLIP[key],
    )
