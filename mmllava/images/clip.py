"""Crops or pads an image to the square that CLIP takes; the model normalises it."""

import numpy as np
from PIL import Image

from mmllava.errors import ImageError, unknown_name
from mmllava.structures import CLIP_MEAN

PAD_COLOUR = tuple(int(mean * 255) for mean in CLIP_MEAN)  # (122, 116, 104)


def square(image: Image.Image, size_px: int) -> Image.Image:
    """Crops as LLaVA v1: resizes the short side to ``size_px``, bicubic, and takes the centre.

    Offsets are floored, as in transformers' slow ``CLIPImageProcessor``; mmcv
    rounds them, which shifts a quarter of all sizes by a pixel.
    """
    width, height = image.size
    if width <= height:
        width, height = size_px, int(size_px * height / width)
    else:
        width, height = int(size_px * width / height), size_px
    if (width, height) != image.size:
        _check_room(image, width, height)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size_px) // 2, (height - size_px) // 2
    return image.crop((left, top, left + size_px, top + size_px))


def pad(image: Image.Image, size_px: int) -> Image.Image:
    """Pads as LLaVA v1.5: to a square of CLIP's mean colour, image centred, then `square`."""
    side = max(image.size)
    if image.size != (side, side):
        _check_room(image, side, side)
    canvas = Image.new('RGB', (side, side), PAD_COLOUR)
    canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square(canvas, size_px)


def _check_room(image: Image.Image, width: int, height: int) -> None:
    """Refuses an intermediate image larger than any that Pillow opens.

    Pillow warns at MAX_IMAGE_PIXELS and refuses at twice that.

    Raises:
        ImageError: it has more pixels.
    """
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > 2 * limit:
        raise ImageError(
            f'an image of {image.width}x{image.height} pixels would take {width}x{height} on its '
            f'way to a square; expected {2 * limit:,} pixels at most. Cut it into pieces, or '
            'raise PIL.Image.MAX_IMAGE_PIXELS.'
        )


ASPECTS = {'square': square, 'pad': pad}


def to_square(image: Image.Image, size_px: int, aspect: str) -> np.ndarray:
    """Prepares one image as a square.

    Args:
        image: RGB.
        size_px: image size of the vision tower; 224 or 336.
        aspect: ``square`` (LLaVA v1) or ``pad`` (v1.5), the checkpoint's
            ``image_aspect_ratio``.

    Returns:
        ``(size_px, size_px, 3)`` uint8 RGB.

    Raises:
        ConfigError: unknown ``aspect``.
        ImageError: it is so elongated that resizing or padding it takes more pixels than
            Pillow reads from a file.
    """
    if aspect not in ASPECTS:
        raise unknown_name('image aspect', aspect, ASPECTS)
    return np.array(ASPECTS[aspect](image, size_px))
