#!/usr/bin/env python
"""Draws demo/cat-dog.png: a cat and a dog on a blanket, of llava-tiny's world. Free to use.

  python demo/draw_cat_dog.py            # writes demo/cat-dog.png
  python demo/draw_cat_dog.py other.png

Shapes only, no fonts and no chance: the same pixels each time.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

sys.path.append(str(Path(__file__).parents[1]))  # projects/ is not installed

from projects.llava_tiny.draw import draw_scene
from projects.llava_tiny.scenes import Scene, Thing

SCENE = Scene(
    'blanket',
    (
        Thing('cat', 'orange', 'big', 34, 62),
        Thing('dog', 'yellow', 'big', 80, 76, flipped=True),
    ),
)
SIDE = 448


def draw() -> Image.Image:
    """Draws the whole image, RGB, SIDE x SIDE."""
    return draw_scene(SCENE, SIDE)


def main(argv: Sequence[str]) -> int:
    """Writes the image to the path given, or next to this file."""
    target = Path(argv[0]) if argv else Path(__file__).with_name('cat-dog.png')
    draw().save(target, optimize=True)
    print(f'wrote {target}, {target.stat().st_size / 1000:.0f} KB')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
