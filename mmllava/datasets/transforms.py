"""Floor 2. The steps from a picture's path to the pixels that a model takes."""

from collections.abc import Callable
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from mmllava.errors import ImageError, unknown_name
from mmllava.images.clip import to_square
from mmllava.images.load import load_image
from mmllava.registry import TRANSFORMS


def _map(function: Callable[[Any], Any], value: Any) -> Any:
    """Of one picture, or of each in a list."""
    return [function(v) for v in value] if isinstance(value, list) else function(value)


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Decodes ``img_path`` (or what is already in ``img``) as LLaVA does, to RGB.

    Either may be a list: the pictures of one sample, in the order of their tags.

    Args:
        exif: turn the picture as its EXIF orientation says; the original does not.
        on_error: ``raise``, or ``record`` a picture that cannot be decoded
            under the key ``error`` and go on, so that one bad file does not
            end an evaluation.
    """

    def __init__(self, exif: bool = False, on_error: str = 'raise') -> None:
        if on_error not in ('raise', 'record'):
            raise unknown_name('on_error', on_error, ('raise', 'record'))
        self.exif, self.on_error = exif, on_error

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        source = results['img'] if 'img' in results else results['img_path']
        try:
            results['img'] = _map(lambda s: load_image(s, exif=self.exif), source)
        except ImageError as error:
            if self.on_error == 'raise':
                raise
            results['img'], results['error'] = None, str(error)
        else:
            results['ori_shape'] = _map(lambda image: image.size[::-1], results['img'])
        return results


@TRANSFORMS.register_module()
class CLIPResize(BaseTransform):
    """The square that CLIP sees, uint8 RGB ``(size, size, 3)``.

    A picture that could not be decoded becomes a black square; its ``error``
    keeps it out of the results.

    Args:
        size: side in pixels, the vision tower's ``image_size``.
        aspect: ``square`` (LLaVA v1: crop) or ``pad`` (v1.5).
    """

    def __init__(self, size: int, aspect: str) -> None:
        self.size, self.aspect = size, aspect

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        if results['img'] is None:
            results['img'] = np.zeros((self.size, self.size, 3), np.uint8)
        else:
            results['img'] = _map(
                lambda image: to_square(image, self.size, self.aspect), results['img']
            )
        results['img_shape'] = (self.size, self.size)
        return results
