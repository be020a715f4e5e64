"""Checks captions against scenes: the facts that a text states, and whether they hold."""

import re
from collections import Counter
from dataclasses import dataclass

from projects.llava_tiny.scenes import COLORS, KINDS, NEW_COLOR, SIZES, SURFACES, Scene
from projects.llava_tiny.sentences import NUMBERS, plural

Look = tuple[str, str]  # colour, kind

_KIND_OF = {word: kind for kind in KINDS for word in (kind, plural(kind))}
_COUNTS = {'a': 1, 'an': 1, **{word: count for count, word in enumerate(NUMBERS)}}
_THING = re.compile(
    rf'\b({"|".join(_COUNTS)}) (?:(?:{"|".join(SIZES)}) )?'
    rf'({"|".join((*COLORS, NEW_COLOR))}) ({"|".join(_KIND_OF)})\b',
    re.IGNORECASE,
)
_SURFACE = re.compile(rf'\bon (?:the|a) ({"|".join(SURFACES)})\b', re.IGNORECASE)


@dataclass(frozen=True)
class Facts:
    """Facts of a caption: how many things of each look, and the surface under them."""

    looks: Counter[Look]
    surface: str | None


def read_facts(text: str) -> Facts:
    """Reads the facts of a caption, in whatever order it gives them."""
    looks: Counter[Look] = Counter()
    for count, color, kind in _THING.findall(text):
        looks[color.lower(), _KIND_OF[kind.lower()]] += _COUNTS[count.lower()]
    surfaces = _SURFACE.findall(text)
    return Facts(looks, surfaces[0].lower() if surfaces else None)


def facts_of(scene: Scene) -> Facts:
    """Returns the true facts of a scene."""
    return Facts(Counter((t.color, t.kind) for t in scene.things), scene.surface)


def is_right(text: str, scene: Scene) -> bool:
    """Returns whether a caption names exactly the scene's things: kind, colour and number."""
    return read_facts(text).looks == facts_of(scene).looks
