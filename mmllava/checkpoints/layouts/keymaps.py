"""Tables of tensor names in each layout; the inverse maps are derived.

Every table goes between a layout and LLaVA's own names ('original'), which all
conversions pass through.
"""

import re
from collections.abc import Iterable

from mmllava.errors import unknown_name

TOWER = 'model.vision_tower.vision_tower.vision_model.'
_LANGUAGE = [('model.', 'model.'), ('lm_head.', 'lm_head.')]

#: layout -> (its prefix, the original's prefix). The longest prefix that fits counts.
PREFIXES: dict[str, list[tuple[str, str]]] = {
    'original': _LANGUAGE,
    'hf': [
        ('language_model.model.', 'model.'),
        ('language_model.lm_head.', 'lm_head.'),
        ('multi_modal_projector.linear_1.', 'model.mm_projector.0.'),
        ('multi_modal_projector.linear_2.', 'model.mm_projector.2.'),
        ('vision_tower.vision_model.', TOWER),
        ('image_newline', 'model.image_newline'),
    ],
    'mmpretrain': [(f'model.lang_encoder.{p}', p) for p, _ in _LANGUAGE],
    'mmllava': [
        ('language.lm.model.', 'model.'),
        ('language.lm.lm_head.', 'lm_head.'),
        ('projector.layers.', 'model.mm_projector.'),
        ('vision_tower.', TOWER),
        ('vision_tower.layers.', f'{TOWER}encoder.layers.'),
        # After the last block, which LLaVA skips: the model has no such part. It keeps
        # CLIP's name, so that the way back is whole.
        ('vision_model.post_layernorm.', f'{TOWER}post_layernorm.'),
        ('image_newline', 'model.image_newline'),
    ],
    'clip': [('vision_model.', TOWER)],
}
# v0 and v1 have one linear layer, which the original does not count.
_LINEAR = {'mmllava': ('projector.layers.0.', 'model.mm_projector.')}
#: Further prefixes that are read and never written.
ALIASES: dict[str, list[tuple[str, str]]] = {
    'hf': [  # transformers 5 leaves a level of its tower out; its modules nest otherwise
        ('vision_tower.', TOWER),
        ('model.language_model.', 'model.'),
        ('lm_head.', 'lm_head.'),
        ('model.multi_modal_projector.linear_1.', 'model.mm_projector.0.'),
        ('model.multi_modal_projector.linear_2.', 'model.mm_projector.2.'),
        ('model.vision_tower.', TOWER),
        ('model.vision_tower.vision_model.', TOWER),
        ('model.image_newline', 'model.image_newline'),
    ],
    'clip': [(p, f'{TOWER}{p}') for p in ('embeddings.', 'encoder.', 'pre_layrnorm.')]
    + [('post_layernorm.', f'{TOWER}post_layernorm.')],  # transformers 5's tower alone
}
#: What no layout keeps: counts of positions and angles, computed from the config, and the
#: text half of a CLIP.
DROPPED = re.compile(
    r'\.rotary_emb\.inv_freq$|embeddings\.position_ids$'
    r'|^(text_model|text_projection|visual_projection)\.|^logit_scale$'
)
_LAYER = r'model\.layers\.\d+\.'
_BLOCK = re.escape(TOWER) + r'encoder\.layers\.\d+\.'
#: Every name that a LLaVA can have.
KNOWN = re.compile(
    r'(model\.(embed_tokens|norm)|lm_head)\.weight|model\.image_newline'
    rf'|{_LAYER}(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)\.(weight|bias)'
    rf'|{_LAYER}(input|post_attention)_layernorm\.weight'
    r'|model\.mm_projector\.(\d+\.)?(weight|bias)'
    rf'|{re.escape(TOWER)}(pre_layrnorm|post_layernorm)\.(weight|bias)'
    rf'|{re.escape(TOWER)}embeddings\.'
    r'(class_embedding|patch_embedding\.weight|position_embedding\.weight)'
    rf'|{_BLOCK}(self_attn\.(q|k|v|out)_proj|mlp\.fc[12]|layer_norm[12])\.(weight|bias)'
)


def to_original(name: str, layout: str, linear: bool = False) -> str:
    """The original's name of a tensor; the same where no prefix fits.

    Args:
        name: in ``layout``.
        layout: a key of ``PREFIXES``.
        linear: whether the projector is v0's and v1's one layer.

    Raises:
        ConfigError: unknown ``layout``.
    """
    return find_original(name, layout, linear) or name


def find_original(name: str, layout: str, linear: bool = False) -> str | None:
    """``to_original`` where a prefix fits; None where none does."""
    return _replace(name, _pairs(layout, linear) + ALIASES.get(layout, []))


def from_original(name: str, layout: str, linear: bool = False) -> str | None:
    """A layout's name of the original's tensor; None where the layout has no such tensor."""
    return _replace(name, [(theirs, ours) for ours, theirs in _pairs(layout, linear)])


def is_linear(names: Iterable[str]) -> bool:
    """Tells v0's and v1's projector of one layer by its tensors' names, in any layout."""
    found = {n for n in names if re.search(r'(mm_projector|projector\.layers)\.', n)}
    return bool(found) and not any(n.endswith('.2.weight') for n in found)


def _pairs(layout: str, linear: bool) -> list[tuple[str, str]]:
    if layout not in PREFIXES:
        raise unknown_name('checkpoint layout', layout, PREFIXES)
    pairs = PREFIXES[layout]
    if linear and layout in _LINEAR:
        ours, theirs = _LINEAR[layout]
        pairs = [p for p in pairs if p[1] != theirs] + [(ours, theirs)]
    return pairs


def _replace(name: str, pairs: list[tuple[str, str]]) -> str | None:
    """Changes the longest prefix of the pairs' left side that fits; None where none does."""
    fitting = [(old, new) for old, new in pairs if name.startswith(old)]
    if not fitting:
        return None
    old, new = max(fitting, key=lambda pair: len(pair[0]))
    return new + name.removeprefix(old)
