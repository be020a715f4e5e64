"""Draws a scene of the small world, with Pillow alone: the same pixels each time."""

import random
from collections.abc import Sequence

from PIL import Image, ImageDraw

from projects.llava_tiny.scenes import SIDE, SIZES, Scene, Thing

Color = tuple[int, int, int]
Point = tuple[float, float]

PAINTS: dict[str, Color] = {
    'red': (214, 38, 44),
    'green': (38, 150, 62),
    'blue': (42, 92, 214),
    'yellow': (248, 214, 46),
    'orange': (242, 132, 32),
    'purple': (142, 62, 184),
    'white': (250, 250, 250),
    'black': (46, 44, 48),
    'brown': (122, 78, 44),
}
INK: Color = (52, 46, 50)
WALL: Color = (226, 234, 240)
_GROUNDS: dict[str, tuple[Color, Color]] = {
    'grass': ((190, 226, 172), (140, 196, 122)),
    'blanket': ((250, 208, 222), (240, 172, 194)),
    'table': ((222, 192, 154), (186, 150, 108)),
    'rug': ((196, 216, 240), (158, 186, 222)),
}
_HORIZON = 22
_FINE = 3  # drawn so many times larger, then shrunk: smooth edges


def draw_scene(scene: Scene, side: int = SIDE) -> Image.Image:
    """Draws the image of a scene, RGB, ``side`` pixels wide and high."""
    unit = side * _FINE / SIDE
    image = Image.new('RGB', (side * _FINE, side * _FINE), WALL)
    pen = ImageDraw.Draw(image)
    rng = random.Random(scene.seed)
    _draw_ground(pen, unit, scene.surface, rng)
    for thing in sorted(scene.things, key=lambda t: t.y):
        paint = tuple(
            min(255, max(0, value + rng.randint(-10, 10))) for value in PAINTS[thing.color]
        )
        _DRAWINGS[thing.kind](_Brush(pen, thing, unit), paint)
    return image.reduce(_FINE)


def _draw_ground(pen: ImageDraw.ImageDraw, unit: float, surface: str, rng: random.Random) -> None:
    ground, mark = _GROUNDS[surface]
    top, end = _HORIZON * unit, SIDE * unit
    pen.rectangle([0, top, end, end], fill=ground)
    pen.line([0, top, end, top], fill=mark, width=round(2 * unit))
    if surface == 'grass':
        for _ in range(40):
            x, y = rng.uniform(0, end), rng.uniform(top + 4 * unit, end)
            pen.line([x, y, x + unit, y - 4 * unit], fill=mark, width=round(unit))
    elif surface == 'blanket':
        for row in range(8):
            for column in range(10):
                x = (column * 12 + 6 * (row % 2) + 3) * unit
                y = top + (row * 12 + 6) * unit
                pen.ellipse([x - 1.6 * unit, y - 1.6 * unit, x + 1.6 * unit, y + 1.6 * unit], mark)
    elif surface == 'table':
        for y in range(_HORIZON + 15, SIDE, 15):
            pen.line([0, y * unit, end, y * unit], fill=mark, width=round(unit))
    else:
        for x in range(4, SIDE, 14):
            pen.rectangle([x * unit, top + 2 * unit, (x + 5) * unit, end], fill=mark)


class _Brush:
    """Draws shapes in units of a thing: its square reaches from -1 to 1, y down."""

    def __init__(self, pen: ImageDraw.ImageDraw, thing: Thing, unit: float) -> None:
        self.pen, self.width = pen, round(1.2 * unit)
        self.x, self.y = thing.x * unit, thing.y * unit
        self.scale = SIZES[thing.size] / 2 * unit
        self.turn = -1 if thing.flipped else 1

    def at(self, x: float, y: float) -> Point:
        return self.x + self.turn * x * self.scale, self.y + y * self.scale

    def shape(self, points: Sequence[Point], fill: Color) -> None:
        corners = [self.at(x, y) for x, y in points]
        self.pen.polygon(corners, fill=fill)
        self.pen.line([*corners, corners[0], corners[1]], fill=INK, width=self.width, joint='curve')

    def oval(self, x: float, y: float, rx: float, ry: float, fill: Color) -> None:
        (cx, cy), s = self.at(x, y), self.scale
        box = [cx - rx * s, cy - ry * s, cx + rx * s, cy + ry * s]
        self.pen.ellipse(box, fill=fill, outline=INK, width=self.width)

    def dot(self, x: float, y: float, r: float, fill: Color = INK) -> None:
        (cx, cy), s = self.at(x, y), self.scale
        self.pen.ellipse([cx - r * s, cy - r * s, cx + r * s, cy + r * s], fill=fill)

    def line(self, points: Sequence[Point], fill: Color = INK, wide: float = 1.0) -> None:
        corners = [self.at(x, y) for x, y in points]
        self.pen.line(corners, fill=fill, width=max(1, round(self.width * wide)), joint='curve')


def _eye(brush: _Brush, x: float, y: float, r: float = 0.12) -> None:
    brush.dot(x, y, r, (255, 255, 255))
    brush.dot(x, y, r * 0.6, (20, 20, 20))


def _cat(brush: _Brush, paint: Color) -> None:
    """Draws a sitting cat that faces us: two pointed ears, whiskers, a raised tail."""
    brush.line([(0.4, 0.8), (0.85, 0.6), (0.85, 0.1)], INK, 5)
    brush.line([(0.4, 0.8), (0.85, 0.6), (0.85, 0.12)], paint, 3)
    brush.oval(0, 0.5, 0.5, 0.48, paint)
    for side in (-1, 1):
        brush.shape([(side * 0.62, -0.35), (side * 0.58, -1), (side * 0.08, -0.68)], paint)
    brush.oval(0, -0.28, 0.64, 0.5, paint)
    for side in (-1, 1):
        _eye(brush, side * 0.26, -0.34, 0.14)
        brush.line([(side * 0.2, -0.08), (side * 0.85, -0.16)])
        brush.line([(side * 0.2, -0.02), (side * 0.85, 0.08)])
    brush.dot(0, -0.12, 0.09, (240, 130, 150))


def _dog(brush: _Brush, paint: Color) -> None:
    """Draws a dog from the side: four legs, a long muzzle, a hanging ear."""
    brush.line([(-0.75, -0.1), (-0.98, -0.6)], INK, 5)
    brush.line([(-0.75, -0.1), (-0.97, -0.58)], paint, 3)
    for x in (-0.7, -0.4, 0.2, 0.5):
        brush.shape([(x - 0.1, 0.3), (x + 0.1, 0.3), (x + 0.1, 0.98), (x - 0.1, 0.98)], paint)
    brush.oval(-0.1, 0.15, 0.75, 0.36, paint)
    brush.oval(0.5, -0.4, 0.4, 0.38, paint)
    brush.shape([(0.6, -0.5), (1, -0.4), (1, -0.14), (0.6, -0.12)], paint)
    brush.dot(0.95, -0.4, 0.1)
    brush.oval(0.26, -0.28, 0.15, 0.4, paint)
    _eye(brush, 0.58, -0.52)


def _bird(brush: _Brush, paint: Color) -> None:
    """Draws a round body with a beak, a wing, a tail and two thin legs."""
    brush.line([(-0.1, 0.5), (-0.1, 0.98)], INK, 1.2)
    brush.line([(0.2, 0.5), (0.2, 0.98)], INK, 1.2)
    brush.shape([(-0.5, 0), (-1, -0.45), (-0.98, 0.15)], paint)
    brush.shape([(0.7, -0.6), (1, -0.42), (0.7, -0.28)], (255, 190, 60))
    brush.oval(0, 0.12, 0.64, 0.52, paint)
    brush.oval(0.4, -0.45, 0.4, 0.38, paint)
    brush.shape([(-0.4, 0), (0.25, 0), (-0.15, 0.45)], paint)
    _eye(brush, 0.5, -0.52)


def _fish(brush: _Brush, paint: Color) -> None:
    """Draws a pointed oval with a forked tail and fins."""
    brush.shape([(-0.45, 0), (-1, -0.55), (-0.82, 0), (-1, 0.55)], paint)
    brush.shape([(-0.2, -0.35), (0.1, -0.85), (0.35, -0.35)], paint)
    brush.oval(0.2, 0, 0.78, 0.46, paint)
    brush.line([(0.42, -0.38), (0.32, 0), (0.42, 0.38)])
    _eye(brush, 0.66, -0.12)


def _car(brush: _Brush, paint: Color) -> None:
    """Draws a car from the side: a cabin with two windows, two dark wheels."""
    brush.shape([(-0.62, -0.05), (-0.42, -0.58), (0.3, -0.58), (0.6, -0.05)], paint)
    glass = (206, 232, 246)
    brush.shape([(-0.44, -0.1), (-0.32, -0.46), (-0.08, -0.46), (-0.08, -0.1)], glass)
    brush.shape([(0.04, -0.1), (0.04, -0.46), (0.24, -0.46), (0.42, -0.1)], glass)
    brush.shape([(-1, -0.05), (1, -0.05), (1, 0.45), (-1, 0.45)], paint)
    for x in (-0.55, 0.55):
        brush.oval(x, 0.46, 0.28, 0.28, (50, 50, 54))
        brush.dot(x, 0.46, 0.12, (200, 200, 204))


def _boat(brush: _Brush, paint: Color) -> None:
    """Draws a hull below a mast with two sails of its colour."""
    brush.line([(0, -0.98), (0, 0.4)], INK, 2)
    brush.shape([(0.08, -0.9), (0.85, 0.22), (0.08, 0.22)], paint)
    brush.shape([(-0.08, -0.6), (-0.08, 0.22), (-0.65, 0.22)], paint)
    brush.shape([(-1, 0.4), (1, 0.4), (0.62, 0.95), (-0.62, 0.95)], paint)


def _house(brush: _Brush, paint: Color) -> None:
    """Draws walls, a roof, a door and two windows."""
    brush.shape([(-0.75, -0.15), (0.75, -0.15), (0.75, 0.98), (-0.75, 0.98)], paint)
    brush.shape([(-1, -0.15), (0, -0.98), (1, -0.15)], paint)
    brush.shape([(-0.18, 0.35), (0.18, 0.35), (0.18, 0.98), (-0.18, 0.98)], (120, 90, 70))
    for x in (-0.5, 0.5):
        window = [(x - 0.15, 0.1), (x + 0.15, 0.1), (x + 0.15, 0.42), (x - 0.15, 0.42)]
        brush.shape(window, (206, 232, 246))


def _tree(brush: _Brush, paint: Color) -> None:
    """Draws a trunk below three clouds of leaves of its colour."""
    brush.shape([(-0.15, 0.2), (0.15, 0.2), (0.2, 0.98), (-0.2, 0.98)], (150, 112, 80))
    brush.oval(-0.42, 0, 0.46, 0.42, paint)
    brush.oval(0.42, 0, 0.46, 0.42, paint)
    brush.oval(0, -0.5, 0.55, 0.48, paint)


def _ball(brush: _Brush, paint: Color) -> None:
    """Draws a circle with two seams and a highlight."""
    brush.oval(0, 0, 0.92, 0.92, paint)
    brush.line([(-0.55, -0.72), (-0.2, 0), (-0.55, 0.72)], INK, 1.2)
    brush.line([(0.55, -0.72), (0.2, 0), (0.55, 0.72)], INK, 1.2)


def _star(brush: _Brush, paint: Color) -> None:
    """Draws a star of five points."""
    outer = [(0, -1), (0.95, -0.31), (0.59, 0.81), (-0.59, 0.81), (-0.95, -0.31)]
    inner = [(0.25, -0.34), (0.4, 0.13), (0, 0.43), (-0.4, 0.13), (-0.25, -0.34)]
    brush.shape([p for pair in zip(outer, inner, strict=True) for p in pair], paint)


_DRAWINGS = dict(
    cat=_cat,
    dog=_dog,
    bird=_bird,
    fish=_fish,
    car=_car,
    boat=_boat,
    house=_house,
    tree=_tree,
    ball=_ball,
    star=_star,
)
