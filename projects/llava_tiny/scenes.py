"""Scenes of the small world: what an image can contain, drawn from a seed."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from mmllava.errors import unknown_name

#: side of the square that scenes are laid out in, in pixels
SIDE = 112
KINDS = ('cat', 'dog', 'bird', 'fish', 'car', 'boat', 'house', 'tree', 'ball', 'star')
COLORS = ('red', 'green', 'blue', 'yellow', 'orange', 'purple', 'white', 'black')
#: a colour that no scene has unless it is asked for: something to learn later
NEW_COLOR = 'brown'
SURFACES = ('grass', 'blanket', 'table', 'rug')
SIZES = {'small': 27, 'big': 40}  # side of the square that a thing fills
#: where a thing's centre may be: between the thirds there is a gap, so that each is certain
PLACES = {'left': (16, 36), 'middle': (44, 68), 'right': (76, 96)}
#: (colour, kind) that no training scene has
HELD_OUT = (
    ('purple', 'cat'),
    ('green', 'dog'),
    ('yellow', 'car'),
    ('white', 'tree'),
    ('blue', 'star'),
    ('red', 'boat'),
)
#: nor has one a thing of the first kind left of one of the second
HELD_OUT_ORDER = ('dog', 'car')
SPLITS = ('train', 'val', 'test', 'held-out')
_TOP, _BOTTOM = 26, 110  # of the surface
_MIN_STEP = 13  # between two centres from left to right, so that the order is certain
_NUMBERS = (1, 2, 2, 3, 3, 3, 4, 4, 4)


@dataclass(frozen=True)
class Thing:
    """Thing in a scene: its centre in pixels of a `SIDE` wide image, and whether it looks left."""

    kind: str
    color: str
    size: str
    x: float
    y: float
    flipped: bool = False

    @property
    def place(self) -> str:
        """``left``, ``middle`` or ``right``."""
        return next(name for name, (_, end) in PLACES.items() if self.x <= end)


@dataclass(frozen=True)
class Scene:
    """Scene of things from left to right on a surface; ``seed`` draws what no text mentions."""

    surface: str
    things: tuple[Thing, ...]
    seed: int = 0


def make_scene(split: str, number: int, color: str | None = None) -> Scene:
    """Draws the scene of a number; the same each time.

    Args:
        split: of `SPLITS`. ``train``, ``val`` and ``test`` have no held-out combination,
            every scene of ``held-out`` has one.
        number: 0 or more.
        color: one thing has this colour, in the place of its own.
    """
    if split not in SPLITS:
        raise unknown_name('split', split, SPLITS)
    rng = random.Random(f'{split} {number}')
    while True:
        looks = _choose_looks(rng, split == 'held-out')
        if color is not None:
            looks[0] = (looks[0][0], color)
            rng.shuffle(looks)
        things = next(filter(None, (_lay_out(rng, looks) for _ in range(40))), None)
        if things is None or is_held_out(things) != (split == 'held-out'):
            continue
        return Scene(rng.choice(SURFACES), things, rng.randrange(2**31))


def is_held_out(things: Sequence[Thing]) -> bool:
    """Returns whether a combination that training never shows is among the things."""
    if any((thing.color, thing.kind) in HELD_OUT for thing in things):
        return True
    first, second = ([t.x for t in things if t.kind == kind] for kind in HELD_OUT_ORDER)
    return bool(first and second) and min(first) < max(second)


def _choose_looks(rng: random.Random, held_out: bool) -> list[tuple[str, str]]:
    """(kind, colour) of each thing; now and then several alike."""
    number, looks = rng.choice(_NUMBERS), []
    if held_out:
        color, kind = rng.choice((*HELD_OUT, (None, None)))
        if kind is None:
            number = max(number, 2)
            looks = [(kind, rng.choice(COLORS)) for kind in HELD_OUT_ORDER]
        else:
            looks = [(kind, color)]
    while len(looks) < number:
        kind, color = rng.choice(KINDS), rng.choice(COLORS)
        luck = rng.random()
        if looks and luck < 0.4:
            kind = rng.choice(looks)[0]
            if luck < 0.28:
                color = rng.choice([c for k, c in looks if k == kind])
        looks.append((kind, color))
    rng.shuffle(looks)
    return looks


def _lay_out(rng: random.Random, looks: Sequence[tuple[str, str]]) -> tuple[Thing, ...] | None:
    """Places the things so that none hides another, left to right; None if there is no room."""
    things: list[Thing] = []
    for kind, color in looks:
        for _ in range(30):
            size = rng.choice(tuple(SIZES))
            half = SIZES[size] / 2
            low, high = PLACES[rng.choice(tuple(PLACES))]
            x = rng.uniform(max(low, half + 2), min(high, SIDE - half - 2))
            y = rng.uniform(_TOP + half - 8, _BOTTOM - half)
            thing = Thing(kind, color, size, round(x, 1), round(y, 1), rng.random() < 0.5)
            if all(_apart(thing, other) for other in things):
                things.append(thing)
                break
        else:
            return None
    return tuple(sorted(things, key=lambda thing: thing.x))


def _apart(one: Thing, other: Thing) -> bool:
    dx, dy = abs(one.x - other.x), abs(one.y - other.y)
    need = (SIZES[one.size] + SIZES[other.size]) / 2 - 1
    return dx >= _MIN_STEP and max(dx, dy) >= need
