"""What the teacher is told of an image: its captions, and the boxes of its things."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmllava.errors import DataError
from mmllava.teacher.files import read_lines, read_object


@dataclass(frozen=True)
class ImageContext:
    """An image in words. ``boxes``: name, and left, top, right, bottom as shares of its sides."""

    id: str
    file: str
    captions: tuple[str, ...]
    boxes: tuple[tuple[str, tuple[float, ...]], ...] = ()

    def describe(self, with_boxes: bool) -> str:
        """The captions, a line each; then, after an empty line, the boxes, a line each."""
        text = '\n'.join(self.captions)
        if with_boxes and self.boxes:
            text += '\n\n' + '\n'.join(f'{name}: {list(box)}' for name, box in self.boxes)
        return text


def read_image_contexts(file: Path) -> list[ImageContext]:
    """Images from JSON lines.

    A line is ``{"id": ..., "image": path, "captions": [text, ...], "instances":
    [{"category": name, "bbox": [left, top, right, bottom]}, ...]}``, boxes as shares of the
    sides; ``instances`` may be left out.

    Raises:
        DataError: a line is not as expected, or an id comes twice.
    """
    images = {}
    for number, row in read_lines(file):
        where = f'{file}, line {number}'
        image = _from_row(row, where)
        if image.id in images:
            raise DataError(f'{where} has the id {image.id!r} a second time; take one out.')
        images[image.id] = image
    return list(images.values())


def read_coco(captions: Path, instances: Path) -> list[ImageContext]:
    """Images from COCO's ``captions_*.json`` and ``instances_*.json``, in the first's order.

    Boxes become shares of the sides, to three decimals. An image without a caption is left out.

    Raises:
        DataError: a file is not as expected, or the two are of different images.
    """
    said = read_object(captions, 'captions_*.json of COCO')
    seen = read_object(instances, 'instances_*.json of COCO')
    try:
        names = {c['id']: c['name'] for c in seen['categories']}
        sides = {i['id']: (i['width'], i['height']) for i in seen['images']}
        texts: dict[Any, list[str]] = {}
        for row in said['annotations']:
            texts.setdefault(row['image_id'], []).append(' '.join(row['caption'].split()))
        boxes: dict[Any, list] = {}
        for row in seen['annotations']:
            box = _to_shares(row['bbox'], *sides[row['image_id']])
            boxes.setdefault(row['image_id'], []).append((names[row['category_id']], box))
        listed = [(row['id'], row['file_name']) for row in said['images']]
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise DataError(
            f'{captions} and {instances} are not COCO annotations of the same images: '
            f'{type(error).__name__} {error}. Expected captions_*.json and instances_*.json '
            'of one split.'
        ) from error
    if not set(texts) & set(sides):
        raise DataError(f'{captions} and {instances} have no image in common; of one split?')
    return [
        ImageContext(str(id_), file, tuple(texts[id_]), tuple(boxes.get(id_, ())))
        for id_, file in listed
        if id_ in texts
    ]


def _from_row(row: Mapping[str, Any], where: str) -> ImageContext:
    id_, image = row.get('id', row.get('image')), row.get('image')
    captions, instances = row.get('captions', row.get('caption')), row.get('instances', [])
    captions = [captions] if isinstance(captions, str) else captions
    if not isinstance(image, str) or not isinstance(id_, str | int):
        raise DataError(f'{where} has no "image"; expected the path of the image.')
    if not isinstance(captions, list) or not captions or not all(map(_is_text, captions)):
        raise DataError(f'{where} has captions {str(captions)[:60]!r}, expected a list of texts.')
    try:
        boxes = tuple((str(i['category']), _checked(i['bbox'])) for i in instances)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f'{where} has a bad instance: {error}. Expected {{"category": name, "bbox": [left, '
            'top, right, bottom]}, the four from 0 to 1; divide pixels by the sides.'
        ) from error
    return ImageContext(str(id_), image, tuple(captions), boxes)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _checked(box: Any) -> tuple[float, ...]:
    shares = tuple(round(float(side), 3) for side in box)
    if len(shares) != 4 or not all(0 <= side <= 1 for side in shares):
        raise ValueError(f'the box {box}')
    return shares


def _to_shares(box: Any, width: float, height: float) -> tuple[float, ...]:
    """COCO's left, top, width, height in pixels as left, top, right, bottom in shares."""
    x, y, w, h = map(float, box)
    shares = (x / width, y / height, (x + w) / width, (y + h) / height)
    if not all(map(math.isfinite, shares)):
        raise ValueError(f'the box {box}')
    return tuple(round(min(max(share, 0.0), 1.0), 3) for share in shares)
