"""Writes the files of transformers' processor: image settings and chat template."""

import json
from collections.abc import Mapping
from typing import Any

from mmllava.structures import CLIP_MEAN, CLIP_STD, VICUNA_SYSTEM

_YI_ROWS = 64000  # v1.6-34b's vocabulary, as no other LLaVA's
# A message's text: its images first, then its words.
_CONTENT = (
    '{%- macro words(content) -%}{%- if content is string -%}{{- content -}}{%- else -%}'
    "{%- for part in content if part['type'] == 'image' -%}{{- '<image>\\n' -}}{%- endfor -%}"
    "{%- for part in content if part['type'] == 'text' -%}{{- part['text'] -}}{%- endfor -%}"
    '{%- endif -%}{%- endmacro -%}'
)
# A system message of the caller's own, which comes first, takes the place of the model's.
_OWN_SYSTEM = "{%- if not messages or messages[0]['role'] != 'system' -%}"
_EACH = '{%- for message in messages -%}'
TEMPLATES = {
    'vicuna_v1': _CONTENT
    + f'{_OWN_SYSTEM}{{{{- "{VICUNA_SYSTEM} " -}}}}{{%- endif -%}}'
    + _EACH
    + "{%- if message['role'] == 'user' -%}{{- 'USER: ' + words(message['content']) + ' ' -}}"
    + "{%- elif message['role'] == 'system' -%}{{- words(message['content']) + ' ' -}}"
    + "{%- else -%}{{- 'ASSISTANT: ' + words(message['content']) + '</s>' -}}{%- endif -%}"
    + "{%- endfor -%}{%- if add_generation_prompt -%}{{- 'ASSISTANT:' -}}{%- endif -%}",
    'mistral_instruct': _CONTENT
    + _EACH
    + "{%- if message['role'] == 'user' -%}"
    + "{{- '[INST] ' + words(message['content']) + ' [/INST]' -}}"
    + "{%- elif message['role'] == 'system' -%}"
    + "{{- raise_exception('this model was trained without a system message; leave it out') -}}"
    + "{%- else -%}{{- ' ' + words(message['content']) + ' </s>' -}}{%- endif -%}{%- endfor -%}",
    'chatml_direct': _CONTENT
    + _OWN_SYSTEM
    + "{{- '<|im_start|>system\\nAnswer the questions.<|im_end|>' -}}{%- endif -%}"
    + _EACH
    + "{{- '<|im_start|>' + message['role'] + '\\n' + words(message['content']) + '<|im_end|>' -}}"
    + "{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}"
    + '{%- endif -%}',
}


def processor_name(tiles: bool) -> str:
    """transformers' class of v1.6 (tiles) or v1.5."""
    return 'LlavaNextProcessor' if tiles else 'LlavaProcessor'


def template_name(config: Mapping[str, Any], rows: int) -> str:
    """Derives the chat template that the model was trained with from its language model."""
    if 'mistral' in str(config.get('model_type')).lower():
        return 'mistral_instruct'
    return 'chatml_direct' if rows == _YI_ROWS else 'vicuna_v1'


def processor_files(
    config: Mapping[str, Any], made: Mapping[str, Any], rows: int
) -> dict[str, bytes]:
    """Image settings, processor settings and chat template: name -> content.

    Args:
        config: LLaVA's own.
        made: transformers' config of the model.
        rows: of LLaVA's vocabulary.
    """
    vision, tiles = made['vision_config'], made['model_type'] == 'llava_next'
    side = vision['image_size']
    images = dict(
        image_processor_type='LlavaNextImageProcessor' if tiles else 'LlavaImageProcessor',
        processor_class=processor_name(tiles),
        do_convert_rgb=True,
        do_resize=True,
        size=dict(shortest_edge=side),
        resample=3,
        do_center_crop=True,
        crop_size=dict(height=side, width=side),
        do_rescale=True,
        rescale_factor=1 / 255,
        do_normalize=True,
        image_mean=list(CLIP_MEAN),
        image_std=list(CLIP_STD),
        # v1.5 pads to a square of the mean colour; transformers' default crops.
        do_pad=tiles or config.get('image_aspect_ratio') == 'pad',
    )
    if tiles:
        images['image_grid_pinpoints'] = made['image_grid_pinpoints']
    processor = dict(
        processor_class=processor_name(tiles),
        patch_size=vision['patch_size'],
        vision_feature_select_strategy=made['vision_feature_select_strategy'],
        num_additional_image_tokens=1,  # CLIP's class token
        image_token='<image>',
    )
    return {
        'preprocessor_config.json': _text(images),
        'processor_config.json': _text(processor),
        'chat_template.jinja': TEMPLATES[template_name(config, rows)].encode(),
    }


def _text(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2) + '\n').encode()
