"""Reads captions and bounding boxes of images, the context that the teacher gets instead."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmllava import io
from mmllava.errors import DataError


@dataclass(frozen=True)
class ImageContext:
    """Captions and boxes of an image; a box is a name and (left, top, right, bottom) in 0..1."""

    id: str
    file: str
    captions: tuple[str, ...]
    boxes: tuple[tuple[str, tuple[float, ...]], ...] = ()

    def describe(self, with_boxes: bool) -> str:
        """Writes the captions, one a line; then, after an empty line, the boxes, one a line."""
        text = '\n'.join(self.captions)
        if with_boxes and self.boxes:
            text += '\n\n' + '\n'.join(f'{name}: {list(box)}' for name, box in self.boxes)
        return text


def read_contexts(file: Path) -> list[ImageContext]:
    """Reads contexts from JSON lines.

    A line is ``{"id": ..., "image": path, "captions": [text, ...], "instances":
    [{"category": name, "bbox": [left, top, right, bottom]}, ...]}``, boxes relative to width
    and height; ``instances`` may be left out.

    Raises:
        DataError: a line is not in this format, or an id occurs twice.
    """
    contexts = {}
    for where, record in io.read_records(file):
        context = _from_record(record, where)
        if context.id in contexts:
            raise DataError(
                f'{where} has the id {context.id!r} a second time; expected each once. Remove one.'
            )
        contexts[context.id] = context
    return list(contexts.values())


def read_coco(captions: Path, instances: Path) -> list[ImageContext]:
    """Reads contexts from COCO's ``captions_*.json`` and ``instances_*.json``, in that order.

    Boxes become relative, to three decimals. An image without a caption is left out.

    Raises:
        DataError: a file is not in COCO's format, or the two have no image in common.
    """
    captioned = io.read_json(captions, expected='captions_*.json of COCO')
    annotated = io.read_json(instances, expected='instances_*.json of COCO')
    try:
        names = {c['id']: c['name'] for c in annotated['categories']}
        sides = {i['id']: (i['width'], i['height']) for i in annotated['images']}
        texts: dict[Any, list[str]] = {}
        for record in captioned['annotations']:
            caption = ' '.join(record['caption'].split())
            texts.setdefault(record['image_id'], []).append(caption)
        boxes: dict[Any, list] = {}
        for record in annotated['annotations']:
            box = _to_relative(record['bbox'], *sides[record['image_id']])
            named = (names[record['category_id']], box)
            boxes.setdefault(record['image_id'], []).append(named)
        listed = [(record['id'], record['file_name']) for record in captioned['images']]
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise DataError(
            f'{captions} and {instances} are not COCO annotations of the same images: '
            f'{type(error).__name__} {error}. Expected captions_*.json and instances_*.json '
            'of one split.'
        ) from error
    if not set(texts) & set(sides):
        raise DataError(f'{captions} and {instances} have no image in common; expected one split.')
    return [
        ImageContext(str(id_), file, tuple(texts[id_]), tuple(boxes.get(id_, ())))
        for id_, file in listed
        if id_ in texts
    ]


def _from_record(record: Mapping[str, Any], where: str) -> ImageContext:
    id_, image = record.get('id', record.get('image')), record.get('image')
    captions = record.get('captions', record.get('caption'))
    instances = record.get('instances', [])
    captions = [captions] if isinstance(captions, str) else captions
    if not isinstance(image, str) or not isinstance(id_, str | int):
        raise DataError(f'{where} has no "image"; expected the path of the image. Add it.')
    if not isinstance(captions, list) or not captions or not all(map(_is_text, captions)):
        raise DataError(
            f'{where} has captions {str(captions)[:60]!r}, expected a list of strings. Correct it.'
        )
    try:
        boxes = tuple((str(i['category']), _check_box(i['bbox'])) for i in instances)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f'{where} has a bad instance: {error}. Expected {{"category": name, "bbox": [left, '
            'top, right, bottom]}, the four in 0..1; divide pixels by width and height.'
        ) from error
    return ImageContext(str(id_), image, tuple(captions), boxes)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _check_box(box: Any) -> tuple[float, ...]:
    relative = tuple(round(float(side), 3) for side in box)
    if len(relative) != 4 or not all(0 <= side <= 1 for side in relative):
        raise ValueError(f'the box {box}')
    return relative


def _to_relative(box: Any, width: float, height: float) -> tuple[float, ...]:
    """Converts left, top, width, height in pixels to left, top, right, bottom in 0..1."""
    x, y, w, h = map(float, box)
    relative = (x / width, y / height, (x + w) / width, (y + h) / height)
    if not all(map(math.isfinite, relative)):
        raise ValueError(f'the box {box}')
    return tuple(round(min(max(side, 0.0), 1.0), 3) for side in relative)
