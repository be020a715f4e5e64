"""The pictures of a batch, whatever form they come in."""

from collections.abc import Sequence
from typing import Any

from mmengine.structures import BaseDataElement
from torch import Tensor

#: ``(B, 3, S, S)``, or a list with one picture, its tiles, or a list of pictures a sample
Images = Tensor | Sequence[Any]


def flatten_images(image: Any) -> list[Tensor]:
    """The pictures of one sample, each as its tiles ``(T, 3, S, S)``."""
    if not isinstance(image, Tensor):
        return [picture for part in image for picture in flatten_images(part)]
    return [image if image.ndim == 4 else image[None]]


def original_sizes(sample: BaseDataElement, pictures: Sequence[Tensor]) -> list[tuple[int, int]]:
    """(width, height) of a sample's pictures as they were, by its ``ori_shape``.

    Where the pipeline does not pack it, that of the square: enough for a picture
    that was not cut into tiles.
    """
    shapes = sample.get('ori_shape')
    if shapes is None:
        shapes = [picture.shape[-2:] for picture in pictures]
    elif shapes and not isinstance(shapes[0], Sequence):  # of one picture that is not in a list
        shapes = [shapes]
    return [(width, height) for height, width in shapes]
