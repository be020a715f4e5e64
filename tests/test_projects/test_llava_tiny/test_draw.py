"""The pictures: the same pixels each time, each thing in its colour at its place."""

import numpy as np
import pytest

from projects.llava_tiny.draw import PAINTS, draw_scene
from projects.llava_tiny.scenes import COLORS, KINDS, Scene, Thing, make_scene


def test_the_same_pixels_each_time_at_any_size():
    scene = make_scene('train', 3)
    one, other = draw_scene(scene), draw_scene(scene)
    assert one.mode == 'RGB' and one.size == (112, 112) and one.tobytes() == other.tobytes()
    assert draw_scene(scene, 448).size == (448, 448)


@pytest.mark.parametrize('kind', KINDS)
def test_a_thing_is_mostly_of_its_colour_and_lies_in_its_square(kind):
    for color in COLORS:
        empty = np.asarray(draw_scene(Scene('table', ())), int)
        scene = Scene('table', (Thing(kind, color, 'big', 56, 60),))
        picture = np.asarray(draw_scene(scene), int)
        changed = np.abs(picture - empty).sum(-1) > 0
        rows, columns = np.nonzero(changed)
        assert rows.min() >= 38 and rows.max() <= 82 and columns.min() >= 33
        assert columns.max() <= 79 and changed.sum() > 350
        near = np.abs(picture[changed] - PAINTS[color]).max(-1) <= 14
        assert near.mean() > 0.25, f'{color} {kind}'


def test_kinds_colours_and_surfaces_all_look_different():
    def of(kind='cat', color='red', surface='grass'):
        return draw_scene(Scene(surface, (Thing(kind, color, 'small', 56, 60),))).tobytes()

    pictures = [of(kind=kind) for kind in KINDS] + [of(color=color) for color in COLORS[1:]]
    pictures += [of(surface=surface) for surface in ('blanket', 'table', 'rug')]
    assert len(set(pictures)) == len(pictures)
