"""The image of the README is what its script draws."""

import runpy
from pathlib import Path

from PIL import Image, ImageChops

DEMO = Path(__file__).parents[2] / 'demo'


def test_the_script_draws_the_committed_picture():
    drawn = runpy.run_path(str(DEMO / 'draw_cat_dog.py'))['draw']()
    with Image.open(DEMO / 'cat-dog.png') as committed:
        assert (committed.mode, committed.size) == ('RGB', (448, 448))
        assert ImageChops.difference(drawn, committed).getbbox() is None


def test_the_picture_is_small_enough_for_a_repository():
    assert (DEMO / 'cat-dog.png').stat().st_size < 30_000
