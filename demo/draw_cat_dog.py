#!/usr/bin/env python
"""Draws demo/cat-dog.png: a cat and a dog on a pink blanket. Our own picture, free to use.

  python demo/draw_cat_dog.py            # writes demo/cat-dog.png
  python demo/draw_cat_dog.py other.png

Shapes only, no fonts and no chance: the same pixels each time.
"""

import sys
from collections.abc import Sequence
from math import cos, pi, sin
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT = 640, 480
SCALE = 3  # drawn this much larger, then shrunk: smooth edges

Color = tuple[int, int, int]
Point = tuple[float, float]

WALL: Color = (222, 231, 226)
SOFA: Color = (92, 128, 134)
SOFA_DARK: Color = (70, 103, 110)
SOFA_LIGHT: Color = (118, 153, 157)
PINK: Color = (240, 160, 178)
PINK_DARK: Color = (221, 128, 152)
PINK_LIGHT: Color = (250, 198, 208)
CAT: Color = (150, 146, 148)
CAT_DARK: Color = (102, 98, 103)
CAT_LIGHT: Color = (226, 222, 220)
DOG: Color = (214, 158, 92)
DOG_DARK: Color = (164, 106, 54)
DOG_LIGHT: Color = (246, 226, 194)
INK: Color = (46, 38, 38)
NOSE: Color = (222, 130, 136)
WHITE: Color = (255, 255, 255)


class Canvas:
    """A picture with shapes in units of final pixels."""

    def __init__(self, background: Color) -> None:
        self.image = Image.new('RGB', (WIDTH * SCALE, HEIGHT * SCALE), background)
        self.pen = ImageDraw.Draw(self.image)

    def blob(self, x: float, y: float, rx: float, ry: float, color: Color, turn: float = 0) -> None:
        """An ellipse about (x, y), turned clockwise by ``turn`` degrees."""
        a = turn * pi / 180
        points = []
        for step in range(96):
            t = 2 * pi * step / 96
            u, v = rx * cos(t), ry * sin(t)
            points.append((x + u * cos(a) - v * sin(a), y + u * sin(a) + v * cos(a)))
        self.shape(points, color, smooth=False)

    def shape(self, points: Sequence[Point], color: Color, smooth: bool = True) -> None:
        """A closed outline through ``points``, rounded unless told otherwise."""
        outline = curve([*points, points[0]], closed=True) if smooth else points
        self.pen.polygon([(x * SCALE, y * SCALE) for x, y in outline], fill=color)

    def stroke(self, points: Sequence[Point], width: float, color: Color) -> None:
        """A soft line through ``points`` with round ends."""
        radius = width / 2
        for x, y in curve(points, closed=False, steps=48):
            box = (x - radius, y - radius, x + radius, y + radius)
            self.pen.ellipse([value * SCALE for value in box], fill=color)

    def shadow(self, x: float, y: float, rx: float, ry: float, strength: int = 90) -> None:
        """A blurred dark ellipse."""
        mask = Image.new('L', self.image.size, 0)
        box = (x - rx, y - ry, x + rx, y + ry)
        ImageDraw.Draw(mask).ellipse([value * SCALE for value in box], fill=strength)
        mask = mask.filter(ImageFilter.BoxBlur(7 * SCALE)).filter(ImageFilter.BoxBlur(5 * SCALE))
        self.image.paste(Image.new('RGB', self.image.size, (90, 40, 62)), mask=mask)


def curve(points: Sequence[Point], closed: bool, steps: int = 16) -> list[Point]:
    """A Catmull-Rom curve through ``points``; a closed one has its first point twice."""
    ends = (points[-2], points[1]) if closed else (points[0], points[-1])
    around = [ends[0], *points, ends[1]]
    drawn = []
    for p0, p1, p2, p3 in zip(around, around[1:], around[2:], around[3:], strict=False):
        for step in range(steps + 1):
            t = step / steps
            drawn.append(
                tuple(
                    0.5
                    * (
                        2 * b
                        + (c - a) * t
                        + (2 * a - 5 * b + 4 * c - d) * t**2
                        + (3 * b - a - 3 * c + d) * t**3
                    )
                    for a, b, c, d in zip(p0, p1, p2, p3, strict=True)
                )
            )
    return drawn


def draw_sofa(canvas: Canvas) -> None:
    """A wall, a sofa with two back cushions and two arms."""
    pen = canvas.pen

    def box(left: float, top: float, right: float, bottom: float, radius: float, c: Color) -> None:
        corners = [value * SCALE for value in (left, top, right, bottom)]
        pen.rounded_rectangle(corners, radius * SCALE, fill=c)

    for x in range(0, WIDTH, 64):  # wallpaper
        pen.rectangle([x * SCALE, 0, (x + 32) * SCALE, HEIGHT * SCALE], fill=(228, 236, 231))
    box(6, 66, 634, 520, 46, SOFA_DARK)
    box(60, 78, 322, 330, 34, SOFA)
    box(326, 78, 582, 330, 34, SOFA)
    box(76, 90, 306, 128, 19, SOFA_LIGHT)
    box(342, 90, 566, 128, 19, SOFA_LIGHT)
    box(-40, 190, 70, 520, 46, SOFA)
    box(570, 190, 680, 520, 46, SOFA)
    box(-40, 200, 56, 240, 20, SOFA_LIGHT)
    box(584, 200, 680, 240, 20, SOFA_LIGHT)


def draw_blanket(canvas: Canvas) -> None:
    """A pink blanket over the seat, dotted, with a wavy upper edge and folds."""
    top = [(-20, 300), (70, 286), (180, 296), (320, 284), (460, 297), (570, 285), (660, 300)]
    edge = curve(top, closed=False)
    canvas.shape([*edge, (660, 500), (-20, 500)], PINK, smooth=False)
    canvas.stroke(top, 9, PINK_LIGHT)
    for row in range(6):
        for column in range(15):
            x = column * 46 + (23 if row % 2 else 0)
            y = 318 + row * 31
            size = 3.2 + row * 0.75
            canvas.blob(x, y, size * 1.35, size * 0.85, PINK_LIGHT)
    for fold in (
        [(16, 318), (22, 390), (6, 490)],
        [(322, 306), (316, 360), (328, 430), (318, 490)],
        [(618, 322), (612, 390), (634, 490)],
    ):
        canvas.stroke(fold, 4, PINK_DARK)


def draw_cat(canvas: Canvas) -> None:
    """A grey tabby, lying, face to us."""
    canvas.shadow(190, 404, 160, 26)
    canvas.stroke([(100, 396), (48, 392), (30, 350), (46, 306), (40, 282)], 24, CAT)
    canvas.stroke([(43, 298), (40, 280)], 22, CAT_DARK)
    for x, y, turn in ((39, 326, -68), (31, 350, 90), (38, 376, 60)):
        canvas.blob(x, y, 4, 11, CAT_DARK, turn)
    body = [(58, 376), (80, 322), (138, 290), (210, 290), (264, 330), (278, 390), (226, 414)]
    canvas.shape([*body, (120, 418), (70, 410)], CAT)
    for x, y, turn in ((84, 342, 42), (106, 325, 30), (129, 315, 20)):
        canvas.blob(x, y, 4.5, 17, CAT_DARK, turn)
    canvas.stroke([(90, 412), (70, 384), (92, 360), (122, 374), (126, 400)], 3, CAT_DARK)
    canvas.blob(104, 411, 34, 13, CAT)
    chest = [(182, 336), (206, 322), (230, 336), (232, 384), (206, 404), (180, 384)]
    canvas.shape(chest, CAT_LIGHT)
    for side in (-1, 1):
        x = 206 + side * 34
        canvas.stroke([(x, 348), (x, 404)], 38, CAT)
        canvas.blob(x, 412, 27, 13, CAT_LIGHT)
        for dy in (362, 378):
            canvas.blob(x + side * 12, dy, 10, 3.2, CAT_DARK, side * -8)
        for toe in (-8, 6):
            canvas.stroke([(x + toe, 411), (x + toe, 420)], 2, CAT)
    draw_cat_head(canvas, 206, 290)


def draw_cat_head(canvas: Canvas, x: float, y: float) -> None:
    """The head about (x, y)."""
    for side in (-1, 1):
        ear = [(x + side * 70, y - 12), (x + side * 72, y - 54), (x + side * 66, y - 92)]
        canvas.shape([*ear, (x + side * 36, y - 78), (x + side * 10, y - 52)], CAT)
        inner = [(x + side * 61, y - 34), (x + side * 62, y - 58), (x + side * 60, y - 78)]
        canvas.shape([*inner, (x + side * 42, y - 68), (x + side * 28, y - 50)], (233, 170, 172))
    skull = [(x - 74, y + 8), (x - 62, y - 42), (x, y - 62), (x + 62, y - 42), (x + 74, y + 8)]
    canvas.shape([*skull, (x + 46, y + 48), (x, y + 56), (x - 46, y + 48)], CAT)
    for dx, turn in ((-18, -12), (0, 0), (18, 12)):
        canvas.blob(x + dx, y - 44, 4.5, 14, CAT_DARK, turn)
    for side in (-1, 1):
        for dy, turn in ((2, 8), (18, -6)):
            canvas.blob(x + side * 63, y + dy, 11, 3.6, CAT_DARK, side * turn)
        canvas.blob(x + side * 15, y + 30, 21, 17, CAT_LIGHT)
        eye = x + side * 31
        canvas.blob(eye, y - 6, 17, 16, INK)
        canvas.blob(eye, y - 6, 15, 14, (176, 200, 92))
        canvas.blob(eye, y - 6, 6.5, 13, INK)
        canvas.blob(eye - 4, y - 12, 4.5, 4.5, WHITE)
    canvas.blob(x, y + 40, 14, 11, CAT_LIGHT)
    canvas.shape([(x - 9, y + 15), (x + 9, y + 15), (x, y + 25)], NOSE)
    canvas.stroke([(x, y + 24), (x, y + 31)], 2.4, INK)
    for side in (-1, 1):
        mouth = [(x, y + 31), (x + side * 7, y + 37), (x + side * 15, y + 33)]
        canvas.stroke(mouth, 2.4, INK)
        for dy, lift in ((24, -6), (30, 2), (36, 10)):
            start = (x + side * 32, y + dy)
            middle = (x + side * 60, y + dy + lift * 0.4)
            canvas.stroke([start, middle, (x + side * 88, y + dy + lift)], 1.5, WHITE)


def draw_dog(canvas: Canvas) -> None:
    """A golden puppy, sitting, tongue out."""
    canvas.shadow(446, 414, 130, 26)
    canvas.stroke([(540, 390), (584, 372), (596, 330)], 24, DOG)
    canvas.stroke([(592, 346), (597, 328)], 16, DOG_LIGHT)
    body = [(372, 400), (366, 330), (392, 268), (446, 250), (502, 268), (536, 330), (546, 396)]
    canvas.shape([*body, (500, 420), (410, 420)], DOG)
    for side in (-1, 1):
        canvas.blob(449 + side * 76, 386, 38, 34, DOG)
        canvas.blob(449 + side * 86, 410, 34, 14, DOG_LIGHT)
    chest = [(412, 310), (446, 292), (482, 310), (474, 372), (446, 388), (420, 372)]
    canvas.shape(chest, DOG_LIGHT)
    for side in (-1, 1):
        x = 448 + side * 24
        canvas.stroke([(x, 340), (x, 404)], 36, DOG)
        canvas.blob(x + side * 3, 412, 26, 15, DOG_LIGHT)
        for toe in (-8, 5):
            canvas.stroke([(x + side * 3 + toe, 411), (x + side * 3 + toe, 420)], 2, DOG)
    canvas.stroke([(406, 288), (446, 304), (488, 288)], 14, (196, 62, 66))
    canvas.blob(447, 312, 11, 11, (244, 202, 84))
    canvas.blob(447, 315, 3, 3, DOG_DARK)
    draw_dog_head(canvas, 446, 214)


def draw_dog_head(canvas: Canvas, x: float, y: float) -> None:
    """The head about (x, y)."""
    skull = [(x - 76, y - 6), (x - 58, y - 58), (x, y - 78), (x + 58, y - 58), (x + 76, y - 6)]
    canvas.shape([*skull, (x + 60, y + 48), (x, y + 76), (x - 60, y + 48)], DOG)
    blaze = [(x, y - 74), (x + 9, y - 56), (x + 12, y - 24), (x + 26, y + 14), (x - 26, y + 14)]
    canvas.shape([*blaze, (x - 12, y - 24), (x - 9, y - 56)], DOG_LIGHT)
    for side in (-1, 1):
        ear = [(46, -62), (82, -50), (104, 4), (92, 56), (70, 44), (60, -8)]
        canvas.shape([(x + side * dx, y + dy) for dx, dy in ear], DOG_DARK)
        eye = x + side * 32
        canvas.blob(eye, y - 12, 12, 13, INK)
        canvas.blob(eye - 4, y - 17, 4, 4, WHITE)
        canvas.stroke([(eye - 10, y - 35), (eye, y - 39), (eye + 10, y - 35)], 4, DOG_DARK)
    canvas.shape([(x - 15, y + 44), (x + 15, y + 44), (x + 14, y + 78), (x - 14, y + 78)], NOSE)
    canvas.stroke([(x, y + 50), (x, y + 74)], 2, (186, 92, 104))
    for side in (-1, 1):
        canvas.blob(x + side * 20, y + 32, 28, 24, DOG_LIGHT)
        mouth = [(x, y + 40), (x + side * 12, y + 53), (x + side * 32, y + 47)]
        canvas.stroke(mouth, 2.6, INK)
        for dx, dy in ((16, 30), (26, 26), (27, 37)):
            canvas.blob(x + side * dx, y + dy, 1.7, 1.7, DOG_DARK)
    canvas.stroke([(x, y + 24), (x, y + 42)], 2.6, INK)
    canvas.blob(x, y + 13, 18, 13, INK)
    canvas.blob(x - 5, y + 8, 6, 3, (120, 108, 108))


def draw() -> Image.Image:
    """The whole picture, RGB, WIDTH x HEIGHT."""
    canvas = Canvas(WALL)
    draw_sofa(canvas)
    draw_blanket(canvas)
    draw_cat(canvas)
    draw_dog(canvas)
    return canvas.image.resize((WIDTH, HEIGHT), Image.Resampling.BOX)


def main(argv: Sequence[str]) -> int:
    """Writes the picture to the path given, or beside this file."""
    target = Path(argv[0]) if argv else Path(__file__).with_name('cat-dog.png')
    draw().save(target, optimize=True)
    print(f'wrote {target}, {target.stat().st_size / 1000:.0f} KB')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
