"""Floor 2. A batch of samples to the device, its pixels normalised."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmllava.images.clip import CLIP_MEAN, CLIP_STD
from mmllava.registry import MODELS


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
        """Turns ``inputs`` (uint8 RGB ``(3, H, W)`` each) into ``images``, float32, normalised.

        ``data_samples`` go along. All pictures of a batch have one size, so
        ``images`` is ``(B, 3, H, W)``.
        """
        data = self.cast_data(data)
        inputs = data['inputs']
        images = torch.stack(list(inputs)) if not isinstance(inputs, Tensor) else inputs
        return dict(images=self.normalise(images), data_samples=data.get('data_samples'))

    def normalise(self, pixels: Tensor) -> Tensor:
        """``(..., 3, H, W)`` uint8 to float32 with CLIP's mean and deviation."""
        mean = torch.tensor(self.mean, device=pixels.device).view(3, 1, 1)
        std = torch.tensor(self.std, device=pixels.device).view(3, 1, 1)
        return (pixels.float() * (1 / 255) - mean) / std
