"""From a path to pixels, by config."""

import numpy as np
import pytest
from PIL import Image

from mmllava.datasets import CLIPResize, LoadImage
from mmllava.errors import ConfigError, ImageError
from tests.conftest import MODELS


def test_a_picture_becomes_the_square_that_the_tower_takes():
    results = LoadImage()(dict(img_path=str(MODELS / 'images/2.png')))
    size = Image.open(MODELS / 'images/2.png').size
    assert results['ori_shape'] == size[::-1]
    results = CLIPResize(size=56, aspect='pad')(results)
    assert results['img'].shape == (56, 56, 3) and results['img'].dtype == np.uint8


def test_a_bad_picture_raises_or_is_recorded(tmp_path):
    missing = dict(img_path=str(tmp_path / 'gone.png'))
    with pytest.raises(ImageError, match='no image at'):
        LoadImage()(dict(missing))
    results = CLIPResize(8, 'pad')(LoadImage(on_error='record')(dict(missing)))
    assert 'no image at' in results['error']
    assert results['img'].shape == (8, 8, 3) and not results['img'].any()


def test_what_to_do_on_error_is_one_of_two():
    with pytest.raises(ConfigError, match="unknown on_error 'skip'"):
        LoadImage(on_error='skip')
