"""Normalises the pixels of a batch on the device; flattens the forms that images come in."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from mmengine.structures import BaseDataElement
from torch import Tensor

from mmllava.registry import MODELS
from mmllava.structures import CLIP_MEAN, CLIP_STD

#: ``(B, 3, S, S)``, or a list with one image, its tiles, or a list of images for each sample
Images = Tensor | Sequence[Any]


@MODELS.register_module()
class LlavaDataPreprocessor(BaseDataPreprocessor):
    """Normalises in float32, in the order of ``CLIPImageProcessor``; the tower casts.

    mmpretrain's preprocessor keeps mean and std as buffers, so that a model in
    bfloat16 rounds them too and every pixel is off by up to 0.008.

    Args:
        mean: of each RGB channel, for values in 0..1.
        std: of each RGB channel, for values in 0..1.
    """

    def __init__(self, mean: Sequence[float] = CLIP_MEAN, std: Sequence[float] = CLIP_STD) -> None:
        super().__init__()
        self.mean, self.std = tuple(mean), tuple(std)

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """Turns ``inputs`` (uint8 RGB) into ``images``, float32, normalised.

        A sample is one image ``(3, S, S)``, the tiles of one ``(T, 3, S, S)``,
        or a list of such images. Where every sample is one image, ``images``
        is ``(B, 3, S, S)``; else the list stays a list. ``data_samples`` go along.
        """
        data = self.cast_data(data)
        images = self.normalise(data['inputs'])
        if not isinstance(images, Tensor) and all(_is_plain(image) for image in images):
            images = torch.stack(images)
        return dict(images=images, data_samples=data.get('data_samples'))

    def normalise(self, pixels: Any) -> Any:
        """``(..., 3, H, W)`` uint8 to float32 with CLIP's mean and deviation; lists stay lists."""
        if not isinstance(pixels, Tensor):
            return [self.normalise(image) for image in pixels]
        mean = torch.tensor(self.mean, device=pixels.device).view(3, 1, 1)
        std = torch.tensor(self.std, device=pixels.device).view(3, 1, 1)
        return (pixels.float() * (1 / 255) - mean) / std


def _is_plain(image: Any) -> bool:
    return isinstance(image, Tensor) and image.ndim == 3


def flatten_images(image: Any) -> list[Tensor]:
    """Lists the images of one sample, each as its tiles ``(T, 3, S, S)``."""
    if not isinstance(image, Tensor):
        return [each for part in image for each in flatten_images(part)]
    return [image if image.ndim == 4 else image[None]]


def original_sizes(sample: BaseDataElement, images: Sequence[Tensor]) -> list[tuple[int, int]]:
    """Returns (width, height) of a sample's images before any resize, by its ``ori_shape``.

    Where the pipeline does not pack it, those of the square: enough for an image
    that was not cut into tiles.
    """
    shapes = sample.get('ori_shape')
    if shapes is None:
        shapes = [image.shape[-2:] for image in images]
    elif shapes and not isinstance(shapes[0], Sequence):  # of one image that is not in a list
        shapes = [shapes]
    return [(width, height) for height, width in shapes]
