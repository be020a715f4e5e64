"""Floor 1. What a tensor is called in each layout, as tables."""

import re
from collections.abc import Iterable, Mapping

from mmllava.errors import CheckpointError, unknown_name

#: layout -> ordered (pattern, replacement) from its names to the model's; None
#: drops a tensor on purpose.
KEYMAPS: dict[str, list[tuple[str, str | None]]] = {
    # LLaVA's own: deltas, merged v0 and v1, v1.5, v1.6.
    'original': [
        (r'^model\.mm_projector\.(weight|bias)$', r'projector.layers.0.\1'),  # v1: one layer
        (r'^model\.mm_projector\.(\d+\..*)$', r'projector.layers.\1'),  # v1.5, v1.6
        (r'^model\.vision_tower\.vision_tower\.(vision_model\..*)$', r'\1'),
        (r'^model\.image_newline$', 'image_newline'),  # v1.6
        (r'\.rotary_emb\.inv_freq$', None),  # recomputed from the config
        (r'^(model|lm_head)\.(.+)$', r'language.lm.\1.\2'),
    ],
    # A CLIP as transformers saves it, the text half included.
    'clip': [
        (r'^(text_model|text_projection|visual_projection)\.', None),
        (r'^logit_scale$', None),
    ],
}
# CLIP's names for the tower, in either layout; the rest of 'vision_model' is dropped above.
_TOWER = [
    (r'^vision_model\.encoder\.layers\.(.*)$', r'vision_tower.layers.\1'),
    (r'^vision_model\.embeddings\.position_ids$', None),
    (r'^vision_model\.post_layernorm\.', None),  # after the last block, which LLaVA skips
    (r'^vision_model\.(embeddings|pre_layrnorm)\.(.*)$', r'vision_tower.\1.\2'),
]


def to_model_names(names: Iterable[str], layout: str) -> Mapping[str, str]:
    """Maps the model's names to those of a layout; dropped ones are left out.

    A name that no rule knows stays as it is, for the loader to refuse.

    Raises:
        ConfigError: unknown ``layout``.
        CheckpointError: two names become one.
    """
    if layout not in KEYMAPS:
        raise unknown_name('checkpoint layout', layout, KEYMAPS)
    found: dict[str, str] = {}
    for name in names:
        target = _apply(name, KEYMAPS[layout])
        target = target and _apply(target, _TOWER)
        if target is None:
            continue
        if target in found:
            raise CheckpointError(
                f"tensors '{found[target]}' and '{name}' both are the model's '{target}'. "
                'Remove one of them.'
            )
        found[target] = name
    return found


def _apply(name: str, rules: list[tuple[str, str | None]]) -> str | None:
    """The name by the first rule that matches; a name that none matches stays."""
    for pattern, replacement in rules:
        if re.search(pattern, name):
            return None if replacement is None else re.sub(pattern, replacement, name)
    return name
