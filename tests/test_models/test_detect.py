"""Components that mmpretrain's own Llava configs name."""

import pytest

from mmllava.errors import ConfigError
from mmllava.models.detect import config_from_mmpretrain


def test_upstreams_component_types_become_ours():
    vision = dict(type='VisionTransformer', arch='l', patch_size=14, img_size=336, pretrained='x')
    parts = config_from_mmpretrain(
        vision, dict(type='AutoModelForCausalLM'), dict(type='AutoTokenizer')
    )
    assert [part['type'] for part in parts.values()] == [
        'mmllava.CLIPVisionTower',
        'mmllava.LanguageModel',
        'mmllava.LlamaTokenizer',
    ]
    tower = parts['vision_encoder']
    assert (tower['hidden_size'], tower['pretrained']) == (
        1024,
        'openai/clip-vit-large-patch14-336',
    )
    assert vision['type'] == 'VisionTransformer'  # the user's config is not changed


def test_another_vision_transformer_is_refused():
    vision = dict(type='mmpretrain.VisionTransformer', arch='b', patch_size=16, img_size=224)
    with pytest.raises(ConfigError, match="arch='b', patch_size=16, img_size=224 is no tower"):
        config_from_mmpretrain(vision, {}, {})
