"""The square that CLIP sees, to the pixel."""

import numpy as np
import pytest
from PIL import Image

from mmllava.errors import ConfigError, ImageError
from mmllava.images.clip import PAD_COLOUR, to_square
from mmllava.images.load import load_image
from mmllava.structures import CLIP_MEAN, CLIP_STD
from tests.conftest import MODELS


@pytest.mark.parametrize('aspect', ['square', 'pad'])
@pytest.mark.parametrize('number', range(6))
def test_pixels_are_the_recorded_ones(golden_arrays, aspect, number):
    image = load_image(MODELS / f'images/{number}.png')
    pixels = to_square(image, 56, aspect).transpose(2, 0, 1) / 255
    mean, std = (np.array(v)[:, None, None] for v in (CLIP_MEAN, CLIP_STD))
    expected = golden_arrays[f'pixels/{aspect}/{number}']
    assert np.abs((pixels - mean) / std - expected).max() < 1e-5


@pytest.mark.parametrize('size', [(100, 1023), (1023, 100), (57, 56), (31, 33), (1, 400), (56, 56)])
@pytest.mark.parametrize('side', [56, 224])
def test_any_size_gives_what_transformers_slow_processor_gives(size, side):
    transformers = pytest.importorskip('transformers')
    try:
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil as Slow
    except ImportError:
        Slow = transformers.CLIPImageProcessor  # 4.57: the slow one
    rng = np.random.default_rng(1)
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    processor = Slow(
        size=dict(shortest_edge=side),
        crop_size=dict(height=side, width=side),
        do_normalize=False,
        do_rescale=False,
    )
    expected = np.asarray(processor(image, return_tensors='np')['pixel_values'][0])
    assert np.array_equal(to_square(image, side, 'square'), expected.transpose(1, 2, 0))


def test_padding_is_clips_mean_and_the_picture_sits_in_the_middle():
    assert PAD_COLOUR == (122, 116, 104)
    image = Image.new('RGB', (8, 3), (255, 255, 255))
    rows = to_square(image, 8, 'pad')
    # 8 - 3 = 5 rows to fill: two above (floored), three below
    white = [k for k in range(8) if (rows[k] == 255).all()]
    assert white == [2, 3, 4]
    assert all(tuple(rows[k, 0]) == PAD_COLOUR for k in (0, 1, 5, 6, 7))


def test_an_unknown_aspect_is_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match="unknown image aspect 'pda'. Did you mean pad"):
        to_square(Image.new('RGB', (5, 5)), 4, 'pda')


@pytest.mark.parametrize(
    ('aspect', 'size', 'found'),
    [('pad', (1, 60_000), '60000x60000'), ('square', (60_000, 1), '13440000x224')],
)
def test_a_thread_is_refused_before_its_square_is_made(aspect, size, found, monkeypatch):
    image = Image.new('RGB', size)
    for name in ('new', 'Image.resize'):
        monkeypatch.setattr(f'PIL.Image.{name}', lambda *_, **__: pytest.fail('made it'))
    message = f'{size[0]}x{size[1]} pixels would take {found} .* expected .* Cut it'
    with pytest.raises(ImageError, match=message):
        to_square(image, 224, aspect)


def test_the_limit_is_the_one_pillow_has_for_files(monkeypatch):
    tall, whole = Image.new('RGB', (2, 20)), Image.new('RGB', (20, 20))
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 199)
    with pytest.raises(ImageError, match='2x20 .* 20x20 .* expected 398 pixels at most'):
        to_square(tall, 8, 'pad')
    to_square(whole, 8, 'pad')  # was read already: nothing larger is made of it
    for limit in (200, None):
        monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', limit)
        assert to_square(tall, 8, 'pad').shape == (8, 8, 3)
