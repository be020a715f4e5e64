"""Pixels on their way to the tower."""

import torch

from mmllava.models import LlavaDataPreprocessor


def test_pixels_are_normalised_in_float32_even_when_the_model_is_not():
    preprocessor = LlavaDataPreprocessor()
    pixels = torch.randint(0, 256, (3, 4, 4), dtype=torch.uint8)
    images = preprocessor.to(torch.bfloat16)(dict(inputs=[pixels]))['images']
    mean = torch.tensor(preprocessor.mean).view(3, 1, 1)
    std = torch.tensor(preprocessor.std).view(3, 1, 1)
    assert images.dtype == torch.float32
    assert torch.allclose(images[0], (pixels / 255 - mean) / std, atol=1e-6)
