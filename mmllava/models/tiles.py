"""LLaVA v1.6: the features of an image's tiles, to one row."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmllava.errors import ConfigError, ShapeError, unknown_name
from mmllava.images.anyres import Size, grid_shape, unpad_rectangle

MERGE_TYPES = ('flat', 'spatial', 'spatial_unpad')  # a checkpoint's mm_patch_merge_type


def merge_tiles(
    features: Tensor,
    size: Size,
    pinpoints: Sequence[Size],
    size_px: int,
    image_newline: Tensor | None = None,
    merge_type: str = 'spatial_unpad',
) -> Tensor:
    """One image's rows of word-embedding space.

    ``flat`` is all tiles one after the other. ``spatial`` is the whole image,
    then the tiles as one grid, line by line across them. ``spatial_unpad`` also
    leaves out what black padding gave, and ends each line with ``image_newline``.

    Args:
        features: ``(T, N, D)``, in the order of `mmllava.images.anyres.tiles`;
            T = 1 is an image that was not cut into tiles.
        size: (width, height) of the image, as it was before any resize.
        pinpoints: the resolutions that the tiles were cut with.
        size_px: side of a tile.
        image_newline: ``(D,)``, learned; for ``spatial_unpad`` only.
        merge_type: one of `MERGE_TYPES`.

    Returns:
        ``(L, D)`` in the dtype of ``features``; with ``spatial_unpad``, L is
        `mmllava.images.anyres.num_tokens`.

    Raises:
        ConfigError: unknown ``merge_type``, no ``image_newline`` where it is
            needed, or pinpoints that `grid_shape` refuses.
        ImageError: a side of the image is below 1.
        ShapeError: another number of tiles than the image is cut into, N is
            no square, or ``image_newline`` has another width.

    Source: ``prepare_inputs_labels_for_multimodal`` of LLaVA 1.2.2.
    """
    _check(features, image_newline, merge_type)
    if merge_type == 'flat':
        return features.flatten(0, 1)
    base, unpad = features[0], merge_type == 'spatial_unpad'
    if len(features) == 1:
        return torch.cat([base, image_newline.to(base)[None]]) if unpad else base
    grid = _grid(features[1:], size, grid_shape(size, pinpoints, size_px))
    if unpad:
        top, bottom, left, right = unpad_rectangle(*grid.shape[:2], size)
        grid = grid[top:bottom, left:right]
        newlines = image_newline.to(grid).expand(len(grid), 1, -1)
        grid = torch.cat([grid, newlines], dim=1)
    return torch.cat([base, grid.flatten(0, 1)])


def _grid(features: Tensor, size: Size, shape: Size) -> Tensor:
    """Tiles ``(columns * rows, N, D)`` side by side, as ``(height, width, D)`` patches."""
    (columns, rows), (num_tiles, num_patches, channels) = shape, features.shape
    if num_tiles != columns * rows:
        raise ShapeError(
            f'an image of {size[0]}x{size[1]} pixels came as {num_tiles} tiles and the whole, '
            f'expected {columns}x{rows} tiles and the whole. Cut and merge with the same '
            'resolutions and tile side, and give the size from before any resize.'
        )
    side = math.isqrt(num_patches)
    if side * side != num_patches:
        raise ShapeError(
            f'{num_patches} features of a tile are no square of patches. Set '
            "select_feature='patch' in the vision tower: a class token has no place in a grid."
        )
    grid = features.reshape(rows, columns, side, side, channels)
    # (rows, columns, side, side, D) -> (rows, side, columns, side, D) -> (height, width, D)
    return grid.transpose(1, 2).reshape(rows * side, columns * side, channels)


def _check(features: Tensor, image_newline: Tensor | None, merge_type: str) -> None:
    if merge_type not in MERGE_TYPES:
        raise unknown_name('merge_type', merge_type, MERGE_TYPES)
    if features.ndim != 3 or not len(features):
        raise ShapeError(
            f'features of one image are {tuple(features.shape)}, expected (tiles, patches, '
            'channels). Merge one image at a time.'
        )
    if merge_type != 'spatial_unpad':
        return
    if image_newline is None:
        raise ConfigError(
            'merge_type spatial_unpad ends lines with image_newline, got None. Load it from the '
            "checkpoint, or set merge_type='spatial'."
        )
    if image_newline.shape != features.shape[2:]:
        raise ShapeError(
            f'image_newline is {tuple(image_newline.shape)}, but features have '
            f'{features.shape[2]} channels. Take it from the checkpoint of the projector.'
        )
