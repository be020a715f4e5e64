"""What a text says is in a picture, and whether it is so."""

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
    """How many things of each look a text names, and what they are on."""

    looks: Counter[Look]
    surface: str | None


def read_facts(text: str) -> Facts:
    """The facts of a caption, in whatever order it gives them."""
    looks: Counter[Look] = Counter()
    for count, color, kind in _THING.findall(text):
        looks[color.lower(), _KIND_OF[kind.lower()]] += _COUNTS[count.lower()]
    surfaces = _SURFACE.findall(text)
    return Facts(looks, surfaces[0].lower() if surfaces else None)


def facts_of(scene: Scene) -> Facts:
    """What is so."""
    return Facts(Counter((t.color, t.kind) for t in scene.things), scene.surface)


def is_right(text: str, scene: Scene) -> bool:
    """Whether a caption names every thing, each in its kind, colour and number, and no other."""
    return read_facts(text).looks == facts_of(scene).looks
