"""Cuts an image into the tiles of LLaVA v1.6, and counts its tokens.

A pinpoint is a resolution (width, height), in pixels, that the checkpoint was
trained on: its ``image_grid_pinpoints``. Source: ``mm_utils.py`` and
``llava_arch.py`` of LLaVA 1.2.2.
"""

import ast
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from mmllava.errors import ConfigError, ImageError

Size = tuple[int, int]  # (width, height), as in Pillow


def read_grid(written: Any) -> list[Size]:
    """Parses the pinpoints of a ``config.json``: a list of pairs, or its text.

    Raises:
        ConfigError: it is neither.
    """
    try:
        pairs = ast.literal_eval(written) if isinstance(written, str) else written
        return [(int(width), int(height)) for width, height in pairs]
    except (ValueError, TypeError, SyntaxError) as error:
        raise ConfigError(
            f'image_grid_pinpoints in config.json is {written!r}, expected a list of [width, '
            'height] in pixels.'
        ) from error


def best_resolution(size: Size, pinpoints: Sequence[Size]) -> Size:
    """Selects the pinpoint that keeps most of an image's pixels.

    Among equal ones it is the pinpoint of the smallest canvas, then the first in the list.

    Args:
        size: of the image.
        pinpoints: resolutions to choose from.

    Raises:
        ConfigError: ``pinpoints`` is empty, or not pairs of positive numbers.
        ImageError: a side of the image is below 1.
    """
    _check(size, pinpoints)
    width, height = size

    def kept_and_wasted(pinpoint: Size) -> tuple[int, int]:
        scale = min(pinpoint[0] / width, pinpoint[1] / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        return kept, kept - pinpoint[0] * pinpoint[1]

    return tuple(max(pinpoints, key=kept_and_wasted))


def grid_shape(size: Size, pinpoints: Sequence[Size], size_px: int) -> Size:
    """Returns (columns, rows) of an image's tiles.

    Args:
        size: of the image.
        pinpoints: resolutions to choose from, multiples of ``size_px``.
        size_px: side of a tile.

    Raises:
        ConfigError: see `best_resolution`; or a pinpoint is no multiple of ``size_px``.
        ImageError: see `best_resolution`.
    """
    _check(size, pinpoints, size_px)
    width, height = best_resolution(size, pinpoints)
    return width // size_px, height // size_px


def tiles(image: Image.Image, size_px: int, pinpoints: Sequence[Size]) -> np.ndarray:
    """Cuts one image into its views.

    Args:
        image: RGB.
        size_px: image size of the vision tower; 336.
        pinpoints: resolutions to choose from, multiples of ``size_px``.

    Returns:
        ``(1 + columns * rows, size_px, size_px, 3)`` uint8 RGB: the whole
        image resized to a square, then the tiles row by row.

    Raises:
        ConfigError: see `grid_shape`.
        ImageError: see `grid_shape`.
    """
    columns, rows = grid_shape(image.size, pinpoints, size_px)
    base = image.resize((size_px, size_px), Image.Resampling.BICUBIC)
    canvas = np.array(_fit(image, (columns * size_px, rows * size_px)))
    # (rows * S, columns * S, 3) -> (rows, S, columns, S, 3) -> (rows * columns, S, S, 3)
    cut = canvas.reshape(rows, size_px, columns, size_px, 3).swapaxes(1, 2)
    return np.concatenate([np.array(base)[None], cut.reshape(-1, size_px, size_px, 3)])


def unpad_rectangle(rows: int, columns: int, size: Size) -> tuple[int, int, int, int]:
    """Computes the part of a feature grid that the image covers, without the padding.

    The same number of rows (or columns) is removed on both sides, so that one more than the
    image covers may remain. Of an image thinner than one row (or column) nothing remains
    if the grid has an even number of them.

    Args:
        rows: of the grid.
        columns: of the grid.
        size: of the original image.

    Returns:
        (top, bottom, left, right); bottom and right are exclusive.

    Raises:
        ConfigError: ``rows`` or ``columns`` is below 1.
        ImageError: a side of the image is below 1.
    """
    _check_image(size)
    if rows < 1 or columns < 1:
        raise ConfigError(
            f'a grid of {rows} rows and {columns} columns of features is empty; expected at least '
            'one of each. Give the rows and columns of tiles times the patches of a tile.'
        )
    width, height = size
    # In this order and in floats, as in the original: another order rounds differently.
    if width / height > columns / rows:
        margin = (rows - int(height * (columns / width))) // 2
        return margin, rows - margin, 0, columns
    margin = (columns - int(width * (rows / height))) // 2
    return 0, rows, margin, columns - margin


def num_tokens(size: Size, pinpoints: Sequence[Size] | None, size_px: int, patch_px: int) -> int:
    """Counts the tokens of an image with ``spatial_unpad``.

    The whole image, then the rows of the unpadded grid with a newline each.

    Args:
        size: of the image.
        pinpoints: resolutions to choose from; None for an image without tiles, which is the
            whole image and one newline.
        size_px: side of a tile.
        patch_px: side of a patch of the vision tower; 14.

    Raises:
        ConfigError: see `grid_shape`; or a tile is smaller than a patch.
        ImageError: see `grid_shape`.
    """
    if not 1 <= patch_px <= size_px:
        raise ConfigError(
            f'a tile of {size_px} px has no patches of {patch_px} px; expected 1 to {size_px}. '
            "Give the image_size and patch_size of the vision tower's config.json."
        )
    side = size_px // patch_px  # in patches; the tower drops the remainder
    if pinpoints is None:
        return side * side + 1
    columns, rows = grid_shape(size, pinpoints, size_px)
    top, bottom, left, right = unpad_rectangle(rows * side, columns * side, size)
    return side * side + (bottom - top) * (right - left + 1)


def _fit(image: Image.Image, canvas_size: Size) -> Image.Image:
    """Resizes an image to fit a black canvas, and centres it there."""
    (width, height), (canvas_width, canvas_height) = image.size, canvas_size
    if canvas_width / width < canvas_height / height:
        scaled = math.ceil(height * (canvas_width / width))
        width, height = canvas_width, min(scaled, canvas_height)
    else:
        scaled = math.ceil(width * (canvas_height / height))
        width, height = min(scaled, canvas_width), canvas_height
    canvas = Image.new('RGB', canvas_size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    canvas.paste(image, ((canvas_width - width) // 2, (canvas_height - height) // 2))
    return canvas


def _check(size: Size, pinpoints: Sequence[Size], size_px: int = 1) -> None:
    _check_image(size)
    if size_px < 1:
        raise ConfigError(f'a tile of {size_px} px; expected the image_size of the vision tower.')
    if not pinpoints:
        raise ConfigError(
            'the list of resolutions is empty; expected (width, height) pairs. Copy '
            "image_grid_pinpoints from the checkpoint's config.json."
        )
    for pinpoint in pinpoints:
        if len(pinpoint) != 2 or any(side < 1 or side % size_px for side in pinpoint):
            raise ConfigError(
                f'the resolution {pinpoint!r} does not divide into tiles of {size_px} px; expected '
                f'(width, height), both multiples of {size_px}. Change it, or use the vision '
                'tower that the checkpoint was trained with.'
            )


def _check_image(size: Size) -> None:
    if min(size) < 1:
        raise ImageError(
            f'an image of {size[0]}x{size[1]} pixels shows nothing; expected at least 1x1. '
            'Check the file, or the crop that it comes from.'
        )
