"""Presets: questions and decoding settings by name, each with its source.

Depending on these two choices the same weights score CIDEr 0.1 to 126 on COCO captions, so
a config names a preset, and the preset is recorded with each score.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmllava.errors import unknown_name


@dataclass(frozen=True)
class Preset:
    """A question for captions, a suffix for given questions, and generation settings.

    Args:
        source: script or config that the preset comes from.
        prompt: the question for a caption.
        suffix: appended to a given question.
        generation: keyword arguments of transformers' ``GenerationConfig``.
    """

    source: str
    prompt: str = ''
    suffix: str = ''
    generation: dict[str, Any] = field(default_factory=dict)


PRESETS: dict[str, Preset] = {
    'coco_short': Preset(
        source='lmms-eval, tasks/coco_cap; LLaVA-1.5-7B: CIDEr 110.4 on COCO 2017 val',
        prompt='Provide a one-sentence caption for the provided image.',
        generation=dict(do_sample=False, num_beams=1, max_new_tokens=64),
    ),
    'describe': Preset(
        source="LLaVA's demo question; mmpretrain's llava-7b-v1_caption, 50 tokens, greedy",
        prompt='Describe the image in detail.',
        generation=dict(do_sample=False, num_beams=1, max_new_tokens=50),
    ),
    'describe_beam3': Preset(
        source="mmpretrain's llava-7b-v1.5_caption",
        prompt='Describe the image in detail.',
        generation=dict(do_sample=False, num_beams=3, length_penalty=-1.0, max_new_tokens=50),
    ),
    'vqa_short': Preset(
        source="LLaVA's scripts/v1_5/eval for VQAv2, GQA, TextVQA, POPE",
        suffix='\nAnswer the question using a single word or phrase.',
        generation=dict(do_sample=False, num_beams=1, max_new_tokens=128),
    ),
    'vqa_open': Preset(
        source="LLaVA's model_vqa.py with temperature 0",
        generation=dict(do_sample=False, num_beams=1, max_new_tokens=1024),
    ),
}


def override(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merges changes into generation settings.

    A changed ``temperature`` switches between sampling and greedy decoding (0), as in LLaVA's
    scripts, unless ``do_sample`` is changed too.
    """
    merged = {**settings, **changes}
    if 'temperature' in changes and 'do_sample' not in changes:
        merged['do_sample'] = bool(changes['temperature'])
    if not merged.get('temperature', 1):
        del merged['temperature']
    return merged


def get_preset(name: str) -> Preset:
    """Looks up a preset by name.

    Raises:
        ConfigError: there is none of that name; similar names are listed.
    """
    if name not in PRESETS:
        raise unknown_name('preset', name, PRESETS)
    return PRESETS[name]
