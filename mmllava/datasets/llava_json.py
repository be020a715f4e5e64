"""LLaVA's training JSON: its rows, and what makes one unfit to learn from.

A row is ``{"id": ..., "image": path or list of paths, "conversations": [{"from": "human" or
"gpt", "value": text}, ...]}``; without ``image`` it is text only. A row with ``caption`` in
the place of ``conversations`` is an image and its caption.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmllava.errors import DataError, PromptError
from mmllava.io import resolve_below
from mmllava.prompts.conversation import from_json
from mmllava.structures import IMAGE_TAG, Turn

#: kind of a bad sample -> what is wrong with it
KINDS = {
    'missing': 'no image at its path',
    'broken': 'an image that cannot be decoded, or made square',
    'huge': 'an image of more pixels than Pillow opens',
    'marks': f'{IMAGE_TAG} marks and images differ in number',
    'format': 'not a row of the format, or not a conversation',
    'empty': 'nothing to learn',
}


class BadSample(DataError):
    """One row cannot be learned from; ``kind`` is a key of `KINDS`."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def read_rows(file: str | Path) -> list[Any]:
    """The rows of a training file, unchecked.

    Raises:
        DataError: the file is missing, is no JSON, is no list, or is empty.
    """
    try:
        rows = json.loads(Path(file).read_text(encoding='utf-8'))
    except OSError as error:
        raise DataError(f'cannot read {file}: {error.strerror}. Check the path.') from error
    except ValueError as error:
        raise DataError(
            f'{file} is not JSON in UTF-8: {error}. Expected one list of rows (JSON lines go '
            'between [ and ], with commas); or was it cut short?'
        ) from error
    if not isinstance(rows, list) or not rows:
        raise DataError(
            f'{file} holds {"an empty list" if rows == [] else f"a JSON {type(rows).__name__}"}; '
            'expected a list of rows, {"image": ..., "conversations": [...]} each.'
        )
    return rows


def count_words(row: Any) -> int:
    """A row's length for sampling: its words, negative for a text-only row, never 0.

    Source: ``modality_lengths`` of LLaVA 1.2.2.
    """
    row = row if isinstance(row, Mapping) else {}
    messages = row.get('conversations')
    messages = messages if isinstance(messages, list) else [dict(value=row.get('caption'))]
    texts = [message.get('value') for message in messages if isinstance(message, Mapping)]
    words = max(sum(len(text.split()) for text in texts if isinstance(text, str)), 1)
    return words if row.get('image') else -words


def to_sample(row: Any, img_root: str) -> dict[str, Any]:
    """Makes the dict that a pipeline starts from.

    Args:
        row: of a training file.
        img_root: folder that the row's image paths are below.

    Returns:
        ``conversations`` as in the file, and ``img_path``: one path, or a list of
        them where there are several images or none.

    Raises:
        BadSample: the row cannot be learned from.
    """
    if not isinstance(row, Mapping):
        raise BadSample('format', f'the row is {str(row)[:80]}, expected an object.')
    names = _image_names(row)
    paths = [image_path(name, img_root) for name in names]
    conversations = _conversations(row)
    try:
        turns = from_json(conversations, several=len(paths) > 1)
    except PromptError as error:
        raise BadSample('format', str(error)) from error
    if not any(turn.role == 'assistant' and (turn.text or '').strip() for turn in turns):
        raise BadSample('empty', 'it has no answer to learn; expected text from "gpt".')
    _check_marks(turns, len(paths))
    return dict(conversations=conversations, img_path=paths[0] if len(paths) == 1 else paths)


def _check_marks(turns: list[Turn], num_images: int) -> None:
    """Raises BadSample if marks and images differ in number."""
    marks = sum((turn.text or '').count(IMAGE_TAG) for turn in turns)
    if marks != num_images:
        raise BadSample(
            'marks',
            f'the conversation has {marks} {IMAGE_TAG} marks, and the row has {num_images} '
            f'images. Write one {IMAGE_TAG} for each image, in what "human" says.',
        )


def _image_names(row: Mapping[str, Any]) -> list[str]:
    found = row.get('image')
    names = found if isinstance(found, list) else [] if found is None else [found]
    if not all(isinstance(name, str) and name for name in names):
        raise BadSample(
            'format', f'"image" is {str(found)[:80]!r}, expected a path or a list of paths.'
        )
    return names


def image_path(name: str, img_root: str) -> str:
    """Joins an image's path to its folder, which it may not leave.

    Raises:
        BadSample: it would.
    """
    try:
        return resolve_below(img_root, name, 'the row')
    except DataError as error:
        raise BadSample('format', str(error)) from error


def _conversations(row: Mapping[str, Any]) -> list[dict[str, str]]:
    found, caption = row.get('conversations'), row.get('caption')
    if found is None and isinstance(caption, str):
        return [
            {'from': 'human', 'value': IMAGE_TAG},
            {'from': 'gpt', 'value': caption},
        ]
    if not isinstance(found, list) or not all(isinstance(m, Mapping) for m in found):
        raise BadSample(
            'format',
            f'"conversations" is {str(found)[:80]}, expected a list of '
            '{"from": "human" or "gpt", "value": text}.',
        )
    return found
