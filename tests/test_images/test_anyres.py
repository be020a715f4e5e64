"""An image cut into tiles, to the pixel; how many tokens it takes, to the token."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmllava.errors import ConfigError, ImageError
from mmllava.images.anyres import best_resolution, grid_shape, num_tokens, tiles, unpad_rectangle
from mmllava.images.load import load_image
from mmllava.structures import CLIP_MEAN, CLIP_STD
from tests.conftest import MODELS

RELEASED = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
TINY = json.loads((MODELS / 'llava-v1.6/config.json').read_text())['image_grid_pinpoints']
SIZES = st.tuples(st.integers(1, 2000), st.integers(1, 2000))
GRIDS = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=6)


def noise(size):
    rng = np.random.default_rng(1)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


@pytest.mark.parametrize('number', range(6))
def test_pixels_are_the_recorded_ones(golden_arrays, number):
    pixels = tiles(load_image(MODELS / f'images/{number}.png'), 56, TINY)
    pixels = pixels.transpose(0, 3, 1, 2) / 255
    mean, std = (np.array(v)[:, None, None] for v in (CLIP_MEAN, CLIP_STD))
    expected = golden_arrays[f'pixels/anyres/{number}']
    assert pixels.shape == expected.shape
    assert np.abs((pixels - mean) / std - expected).max() < 1e-5


@pytest.mark.parametrize(
    'size',
    # of (25, 50), floats make 25 * (112 / 50) more than the 56 columns there are
    [(64, 49), (31, 97), (200, 7), (57, 168), (400, 300), (56, 56), (25, 50)],
)
def test_any_size_gives_what_transformers_slow_processor_gives(size):
    pytest.importorskip('transformers')
    try:
        from transformers.models.llava_next.image_processing_pil_llava_next import (
            LlavaNextImageProcessorPil as Slow,
        )
    except ImportError:  # 4.57: the slow one
        from transformers import LlavaNextImageProcessor as Slow
    processor = Slow(
        size=dict(shortest_edge=56),
        crop_size=dict(height=56, width=56),
        image_grid_pinpoints=[[height, width] for width, height in TINY],
        do_normalize=False,
        do_rescale=False,
    )
    expected = np.asarray(processor(noise(size), return_tensors='np')['pixel_values'][0])
    assert np.array_equal(tiles(noise(size), 56, TINY), expected.transpose(0, 2, 3, 1))


def test_tiles_are_cut_row_by_row_from_the_middle_of_a_black_canvas():
    """4 x 1 white on a canvas of 8 x 8, tiles of 4: resized to 8 x 2, in rows 3 and 4."""
    views = tiles(Image.new('RGB', (4, 1), (255, 255, 255)), 4, [(8, 8)])
    assert views.shape == (5, 4, 4, 3) and views.dtype == np.uint8
    assert (views[0] == 255).all()  # the whole image, its shape ignored
    white_rows = [[y for y in range(4) if (view[y] == 255).all()] for view in views[1:]]
    assert white_rows == [[3], [3], [0], [0]]
    assert sum(view.sum() for view in views[1:]) == 2 * 8 * 3 * 255  # and black all around


def test_an_odd_margin_is_smaller_above_and_left():
    # one line on a canvas of 4: at (4 - 1) // 2 = 1
    lying, standing = (Image.new('RGB', size, (9, 9, 9)) for size in ((4, 1), (1, 4)))
    assert tiles(lying, 4, [(4, 4)])[1][:, 0, 0].tolist() == [0, 9, 0, 0]
    assert tiles(standing, 4, [(4, 4)])[1][0, :, 0].tolist() == [0, 9, 0, 0]


@pytest.mark.parametrize(
    ('size', 'resolution', 'grid', 'rows_and_columns', 'tokens'),
    [
        ((336, 336), (336, 672), (1, 2), (24, 24), 1176),
        ((640, 480), (672, 672), (2, 2), (36, 48), 2340),
        ((480, 640), (672, 672), (2, 2), (48, 36), 2352),
        ((1024, 1024), (672, 672), (2, 2), (48, 48), 2928),
        ((1280, 720), (672, 672), (2, 2), (28, 48), 1948),
        ((300, 900), (336, 1008), (1, 3), (72, 24), 2376),
        ((1000, 300), (1008, 336), (3, 1), (22, 72), 2182),
        ((200, 200), (336, 672), (1, 2), (24, 24), 1176),
        ((3000, 1000), (1008, 336), (3, 1), (24, 72), 2328),
        # thinner than half a pixel when resized: no pinpoint keeps any pixel, so that the
        # smallest canvas wins; 576 for the whole image, and 48 empty rows with a newline each
        ((1, 4000), (336, 672), (1, 2), (48, 0), 576 + 48),
        ((4000, 1), (336, 672), (1, 2), (0, 24), 576),
    ],
)
def test_a_released_checkpoint_takes_as_many_tokens_as_the_original(
    size, resolution, grid, rows_and_columns, tokens
):
    assert best_resolution(size, RELEASED) == resolution
    assert grid_shape(size, RELEASED, 336) == grid
    top, bottom, left, right = unpad_rectangle(grid[1] * 24, grid[0] * 24, size)
    assert (bottom - top, right - left) == rows_and_columns
    assert num_tokens(size, RELEASED, 336, 14) == tokens
    assert len(tiles(Image.new('RGB', size), 336, RELEASED)) == 1 + grid[0] * grid[1]


def test_recorded_prompts_are_as_long_as_num_tokens_says(golden):
    for row in golden['models']['v1.6']['predict']:
        size = Image.open(MODELS / row['image']).size
        length = len(row['input_ids']) - 1 + num_tokens(size, TINY, 56, 14)
        assert length == row['merged_len']


def test_a_picture_that_is_not_cut_takes_its_patches_and_one_newline():
    assert num_tokens((640, 480), None, 336, 14) == 577


def test_the_first_of_equal_resolutions_wins():
    assert best_resolution((200, 200), RELEASED) == (336, 672)
    assert best_resolution((200, 200), RELEASED[::-1]) == (672, 336)


@pytest.mark.parametrize(
    ('size', 'grid', 'rectangle'),
    # 205 * 24 / 328 = 15 and 748 * 24 / 352 = 51, but floats give a hair less, and the original
    # floors that to 14 and 50; transformers rounds first, and keeps two rows or columns more.
    [((328, 205), (48, 24), (17, 31, 0, 24)), ((748, 352), (24, 72), (0, 24, 11, 61))],
)
def test_integers_come_from_floats_as_in_the_original(size, grid, rectangle):
    assert unpad_rectangle(*grid, size) == rectangle


@given(SIZES, GRIDS)
def test_the_resolution_is_the_one_that_transformers_chooses(size, grids):
    utils = pytest.importorskip('transformers.image_processing_utils')
    pinpoints = [(14 * columns, 14 * rows) for columns, rows in grids]
    swapped = [pinpoint[::-1] for pinpoint in pinpoints]
    expected = utils.select_best_resolution(size[::-1], swapped)[::-1]
    assert best_resolution(size, pinpoints) == expected


@given(SIZES, st.integers(1, 80), st.integers(1, 80))
def test_the_rectangle_is_inside_the_grid_in_its_middle_and_whole_on_one_axis(size, rows, columns):
    top, bottom, left, right = unpad_rectangle(rows, columns, size)
    assert 0 <= top <= bottom <= rows and 0 <= left <= right <= columns
    assert top == rows - bottom and left == columns - right
    assert (top, bottom) == (0, rows) or (left, right) == (0, columns)


@settings(deadline=None, max_examples=50)
@given(SIZES, GRIDS)
def test_the_rectangle_is_where_the_tiles_show_the_picture(size, grids):
    """To a patch: of a white image, the first and last white pixel of the canvas."""
    pinpoints = [(28 * columns, 28 * rows) for columns, rows in grids]
    columns, rows = grid_shape(size, pinpoints, 28)
    views = tiles(Image.new('RGB', size, (255, 255, 255)), 28, pinpoints)
    canvas = np.block([[[t] for t in views[1 + columns * k :][:columns]] for k in range(rows)])
    white = canvas.reshape(rows * 28, -1, 3)[..., 0] > 0
    rectangle = unpad_rectangle(rows * 4, columns * 4, size)
    for axis, (first, last) in enumerate((rectangle[:2], rectangle[2:])):
        shown = np.flatnonzero(white.any(axis=1 - axis))
        assert abs(shown[0] - 7 * first) <= 7 and abs(shown[-1] + 1 - 7 * last) <= 7


@pytest.mark.parametrize(
    ('pinpoints', 'size_px', 'message'),
    [
        ([], 336, "resolutions is empty; .* Copy image_grid_pinpoints from the checkpoint's"),
        ([(336, 672), (336, 500)], 336, r'\(336, 500\) does not divide into tiles of 336 px'),
        ([(336, 0)], 336, r'\(336, 0\) does not divide'),
        ([(-336, 336)], 336, r'\(-336, 336\) does not divide'),
        (
            [(336, 336, 336)],
            336,
            r'\(336, 336, 336\) does not divide .* expected \(width, height\)',
        ),
        (RELEASED, 224, r'\[336, 672\] does not divide into tiles of 224 px; .* both multiples'),
    ],
)
def test_resolutions_that_cannot_be_cut_are_refused(pinpoints, size_px, message):
    with pytest.raises(ConfigError, match=message):
        tiles(noise((9, 9)), size_px, pinpoints)
    with pytest.raises(ConfigError, match=message):
        num_tokens((9, 9), pinpoints, size_px, 14)


@pytest.mark.parametrize('patch_px', [0, -1, 57])
def test_a_patch_that_does_not_fit_a_tile_is_refused(patch_px):
    with pytest.raises(ConfigError, match=f'a tile of 56 px has no patches of {patch_px} px'):
        num_tokens((9, 9), TINY, 56, patch_px)


def test_what_has_no_pixels_or_no_rows_is_refused():
    with pytest.raises(ConfigError, match='a tile of 0 px; expected the image_size of the vision'):
        tiles(noise((9, 9)), 0, TINY)
    with pytest.raises(ImageError, match='an image of 5x0 pixels shows nothing'):
        tiles(Image.new('RGB', (5, 0)), 56, TINY)
    with pytest.raises(ImageError, match='an image of 0x5 pixels shows nothing'):
        unpad_rectangle(4, 4, (0, 5))
    with pytest.raises(ConfigError, match='a grid of 0 rows and 4 columns of features is empty'):
        unpad_rectangle(0, 4, (5, 5))
