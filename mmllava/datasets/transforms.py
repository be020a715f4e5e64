"""Pipeline steps from an image's path to the pixels that a model takes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from mmllava.errors import ConfigError, ImageError, unknown_name
from mmllava.images.anyres import tiles
from mmllava.images.clip import ASPECTS, to_square
from mmllava.images.load import load_image
from mmllava.registry import TRANSFORMS


def _map(function: Callable[[Any], Any], value: Any) -> Any:
    """Applies a function to one image, or to each in a list."""
    return [function(v) for v in value] if isinstance(value, list) else function(value)


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Decodes ``img_path``, or the content of ``img``, to RGB as LLaVA does.

    Either may be a list: the images of one sample, in the order of their tags, or an empty
    list for a text-only sample.

    Args:
        exif: rotate the image by its EXIF orientation; the original does not.
        on_error: ``raise``, or ``record`` the error of an image that cannot be decoded
            under the key ``error`` and continue, so that one bad file does not end an
            evaluation.
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
    """Prepares an image for CLIP: one square, or for v1.6 the whole image and its tiles.

    A square is uint8 RGB ``(size, size, 3)``, tiles are ``(T, 3, size, size)``.
    An image that could not be decoded becomes a black square; because of its ``error``
    no answer is generated for it.

    Args:
        size: side in pixels, the vision tower's ``image_size``.
        aspect: ``square`` (LLaVA v1: crop), ``pad`` (v1.5) or ``anyres`` (v1.6).
        image_grid_pinpoints: for ``anyres``: resolutions to choose from, (width,
            height) each, the checkpoint's.
    """

    def __init__(
        self,
        size: int,
        aspect: str,
        image_grid_pinpoints: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        if aspect not in (*ASPECTS, 'anyres'):
            raise unknown_name('image aspect', aspect, (*ASPECTS, 'anyres'))
        if (aspect == 'anyres') != bool(image_grid_pinpoints):
            raise ConfigError(
                f"aspect='{aspect}' with image_grid_pinpoints={image_grid_pinpoints}: anyres "
                'needs resolutions to choose from, and only anyres does.'
            )
        self.size, self.aspect = size, aspect
        self.image_grid_pinpoints = [tuple(p) for p in image_grid_pinpoints or ()]

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        if results['img'] is None:
            results['img'] = np.zeros((self.size, self.size, 3), np.uint8)
        else:
            results['img'] = _map(self._views, results['img'])
        results['img_shape'] = (self.size, self.size)
        return results

    def _views(self, image: Image.Image) -> np.ndarray:
        if self.aspect != 'anyres':
            return to_square(image, self.size, self.aspect)
        views = tiles(image, self.size, self.image_grid_pinpoints)
        return np.ascontiguousarray(views.transpose(0, 3, 1, 2))
