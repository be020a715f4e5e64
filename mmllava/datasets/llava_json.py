"""Reads LLaVA's training JSON and refuses records that cannot be learned from.

A record is ``{"id": ..., "image": path or list of paths, "conversations": [{"from": "human" or
"gpt", "value": text}, ...]}``; without ``image`` it is text only. A record with ``caption``
instead of ``conversations`` is an image and its caption.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmllava.errors import DataError, PromptError
from mmllava.io import resolve_below
from mmllava.prompts.conversation import from_json
from mmllava.structures import IMAGE_TAG, Turn

#: fault of a bad sample -> its description
FAULTS = {
    'missing': 'no image at its path',
    'broken': 'an image that cannot be decoded or made square',
    'huge': 'an image of more pixels than Pillow opens',
    'marks': f'{IMAGE_TAG} marks and images differ in number',
    'format': 'not a record of the format, or not a conversation',
    'empty': 'nothing to learn',
}


class BadSample(DataError):
    """A record cannot be learned from; ``fault`` is a key of `FAULTS`."""

    def __init__(self, fault: str, message: str) -> None:
        super().__init__(message)
        self.fault = fault


def read_annotations(file: str | Path) -> list[Any]:
    """Reads the records of a training file, without checking them.

    Raises:
        DataError: the file is missing, is no JSON, is no list, or is empty.
    """
    try:
        records = json.loads(Path(file).read_text(encoding='utf-8'))
    except OSError as error:
        raise DataError(f'cannot read {file}: {error.strerror}. Check the path.') from error
    except ValueError as error:
        raise DataError(
            f'{file} is not JSON in UTF-8: {error}. Expected one list of records (JSON lines go '
            'between [ and ], with commas); or was it cut short?'
        ) from error
    if not isinstance(records, list) or not records:
        found = 'an empty list' if records == [] else f'a JSON {type(records).__name__}'
        raise DataError(
            f'{file} holds {found}; expected a list of records, {{"image": ..., "conversations": '
            '[...]} each.'
        )
    return records


def count_words(record: Any) -> int:
    """Counts the words of a record, for the sampler: negative for text only, never 0.

    Source: ``modality_lengths`` of LLaVA 1.2.2.
    """
    record = record if isinstance(record, Mapping) else {}
    messages = record.get('conversations')
    messages = messages if isinstance(messages, list) else [dict(value=record.get('caption'))]
    texts = [message.get('value') for message in messages if isinstance(message, Mapping)]
    words = max(sum(len(text.split()) for text in texts if isinstance(text, str)), 1)
    return words if record.get('image') else -words


def to_sample(record: Any, img_root: str) -> dict[str, Any]:
    """Makes the dict that a pipeline starts from.

    Args:
        record: of a training file.
        img_root: folder of the record's images.

    Returns:
        ``conversations`` as in the file, and ``img_path``: one path, or a list of
        paths if there are several images or none.

    Raises:
        BadSample: the record cannot be learned from.
    """
    if not isinstance(record, Mapping):
        raise BadSample('format', f'the record is {str(record)[:80]}, expected an object.')
    paths = [image_path(name, img_root) for name in _image_names(record)]
    conversations = _conversations(record)
    try:
        turns = from_json(conversations, several=len(paths) > 1)
    except PromptError as error:
        raise BadSample('format', str(error)) from error
    if not any(turn.role == 'assistant' and (turn.text or '').strip() for turn in turns):
        raise BadSample('empty', 'it has no answer to learn; expected text from "gpt".')
    _check_marks(turns, len(paths))
    return dict(conversations=conversations, img_path=paths[0] if len(paths) == 1 else paths)


def _check_marks(turns: list[Turn], num_images: int) -> None:
    """Compares the number of ``<image>`` marks with the number of images.

    Raises:
        BadSample: they differ.
    """
    marks = sum((turn.text or '').count(IMAGE_TAG) for turn in turns)
    if marks != num_images:
        raise BadSample(
            'marks',
            f'the conversation has {marks} {IMAGE_TAG} marks, and the record has {num_images} '
            f'images. Write one {IMAGE_TAG} for each image, in the text of "human".',
        )


def _image_names(record: Mapping[str, Any]) -> list[str]:
    found = record.get('image')
    names = found if isinstance(found, list) else [] if found is None else [found]
    if not all(isinstance(name, str) and name for name in names):
        raise BadSample(
            'format', f'"image" is {str(found)[:80]!r}, expected a path or a list of paths.'
        )
    return names


def image_path(name: str, img_root: str) -> str:
    """Joins an image's path to the image folder.

    Raises:
        BadSample: the path leads out of the folder.
    """
    try:
        return resolve_below(img_root, name, 'the record')
    except DataError as error:
        raise BadSample('format', str(error)) from error


def _conversations(record: Mapping[str, Any]) -> list[dict[str, str]]:
    found, caption = record.get('conversations'), record.get('caption')
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
