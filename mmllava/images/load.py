"""Decodes paths, addresses, bytes and arrays to RGB images as LLaVA does."""

import io
import os
import re
import stat
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mmllava.errors import ImageError
from mmllava.images.fetch import decode_data_uri, fetch, shorten

ImageSource = str | Path | bytes | np.ndarray | Image.Image
SCHEME = re.compile(r'[A-Za-z][A-Za-z0-9+.-]+://')
SUFFIXES = ('.bmp', '.gif', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')


def load_image(source: ImageSource, exif: bool = False) -> Image.Image:
    """Decodes an image with Pillow and converts it to RGB.

    Args:
        source: a path, an ``http(s)://`` address, a ``data:`` URI in base64, the bytes of a
            file, a Pillow image, or an array ``(H, W)`` grey, ``(H, W, 3)`` BGR or
            ``(H, W, 4)`` BGRA of uint8, the channel order of mmcv and OpenCV.
        exif: rotate the image by its EXIF orientation; the original ignores it.

    Raises:
        ImageError: a missing file, no answer within the limits of `mmllava.images.fetch`, not an
            image, truncated, or above Pillow's limit against decompression bombs.
    """
    name = _name(source)
    try:
        image = _open(source)
        if exif:
            image = ImageOps.exif_transpose(image)
        return image.convert('RGB')
    except ImageError:  # a ValueError too
        raise
    except FileNotFoundError as error:
        raise ImageError(f'no image at {name}; check the path.') from error
    except IsADirectoryError as error:
        raise ImageError(f'{name} is a folder, expected one image.') from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f'{name} is not an image that Pillow knows; expected PNG, JPEG, WebP, ... '
            'Open it with a viewer, or convert it.'
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f'{name} is too large ({error}). Shrink it, or raise PIL.Image.MAX_IMAGE_PIXELS if '
            'you trust it.'
        ) from error
    except (OSError, SyntaxError, ValueError, RuntimeError) as error:  # RuntimeError: AVIF
        raise ImageError(
            f'{name} could not be decoded ({error}); it is damaged or cut short. Copy it again.'
        ) from error


def list_images(folder: str | Path) -> list[Path]:
    """Lists the images of a folder, sorted by name; other files are ignored.

    Raises:
        ImageError: there is none.
    """
    files = sorted(f for f in Path(folder).iterdir() if f.suffix.lower() in SUFFIXES)
    if not files:
        raise ImageError(f'no images in {folder}; expected files that end in {SUFFIXES}.')
    return files


def _open(source: ImageSource) -> Image.Image:
    if isinstance(source, Image.Image):
        return source
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, bytes):
        return Image.open(io.BytesIO(source))
    if isinstance(source, str) and source[:5].lower() == 'data:':
        return Image.open(io.BytesIO(decode_data_uri(source)))
    if isinstance(source, str) and SCHEME.match(source):
        if not source.lower().startswith(('http://', 'https://')):
            raise ImageError(
                f'{shorten(source)} is no address that is read; expected http://, https://, '
                'data: or a path. Download it and give its path.'
            )
        return Image.open(io.BytesIO(fetch(source)))
    if isinstance(source, (str, Path)):
        return Image.open(_check_regular(source))
    raise ImageError(
        f'an image cannot be a {type(source).__name__}; expected a path, a Pillow image, '
        'bytes, or a BGR uint8 array.'
    )


def _check_regular(path: str | Path) -> str | Path:
    """Returns the path of a file; a pipe, a socket or a device would be waited for without end."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ImageError(f'{path} is a pipe, a socket or a device, expected a file of one image.')
    return path


def _from_array(array: np.ndarray) -> Image.Image:
    shape_is_image = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not shape_is_image or not array.size:
        raise ImageError(
            f'an array of shape {array.shape} and type {array.dtype} is no image; expected '
            'uint8 of (H, W), (H, W, 3) BGR or (H, W, 4) BGRA.'
        )
    if array.ndim == 2:
        return Image.fromarray(array)
    return Image.fromarray(np.ascontiguousarray(array[..., [2, 1, 0, 3][: array.shape[2]]]))


def _name(source: ImageSource) -> str:
    if isinstance(source, (str, Path)):
        name = str(source)
        return shorten(name) if name[:5].lower() == 'data:' or SCHEME.match(name) else name
    return getattr(source, 'filename', '') or f'an image given as {type(source).__name__}'
