"""Reads ``tokenizer.model``, a protobuf message (sentencepiece_model.proto), without sentencepiece.

The package that reads it takes longer to import than a conversion may take to start.
"""

import struct
from pathlib import Path
from typing import Any

from mmllava.errors import CheckpointError


def sentence_pieces(file: Path) -> list[str]:
    """Reads the pieces of a SentencePiece model, in the order of their ids.

    The file is a protobuf message; field 1, repeated, is a piece, whose own field 1
    is its text (sentencepiece_model.proto). Read here, since the package that
    reads it takes longer to import than a merge's start may take.

    Raises:
        CheckpointError: if the file is something else.
    """
    return [piece for piece, _ in sentence_model(file)[0]]


def sentence_model(file: Path) -> tuple[list[tuple[str, float]], dict[str, Any]]:
    """Reads a SentencePiece model: its pieces with their scores, and how it treats text.

    Returns:
        (piece, score) in the order of ids; and ``model_type`` (1 unigram, 2 BPE),
        ``charsmap`` (whether it rewrites characters), ``add_dummy_prefix`` and
        ``remove_extra_whitespaces``.

    Raises:
        CheckpointError: if the file is something else.
    """
    try:
        top = list(_fields(file.read_bytes()))
        pieces = [_piece(value) for field, value in top if field == 1]
        trainer = dict(_fields(b''.join(v for f, v in top if f == 2)))
        normalizer = dict(_fields(b''.join(v for f, v in top if f == 3)))
    except (
        IndexError,
        KeyError,
        UnicodeDecodeError,
        ValueError,
        TypeError,
        struct.error,
        AttributeError,
    ) as error:
        pieces = []
        reason = f' ({error})'
    else:
        reason = ''
    if not pieces:
        raise CheckpointError(
            f'{file} is no SentencePiece model{reason}. Download it again; a file of a few '
            'hundred bytes is often a Git-LFS pointer.'
        )
    return pieces, dict(
        model_type=trainer.get(3, 1),
        charsmap=bool(normalizer.get(2)),
        add_dummy_prefix=bool(normalizer.get(3, 1)),
        remove_extra_whitespaces=bool(normalizer.get(4, 1)),
    )


def _piece(message: bytes) -> tuple[str, float]:
    """Text and score of one piece."""
    fields = dict(_fields(message))
    return fields[1].decode(), struct.unpack('<f', fields.get(2, bytes(4)))[0]


def whole_words(file: Path) -> list[str]:
    """Pieces that SentencePiece never cuts nor joins: its control and user-defined ones.

    Yi has ``<|im_start|>`` and ``<|im_end|>`` so.
    """
    messages = [value for field, value in _fields(file.read_bytes()) if field == 1]
    return [m[1].decode() for m in map(dict, map(_fields, messages)) if m.get(3) in (3, 4)]


def _fields(data: bytes):
    """Yields (field number, bytes or number) of a protobuf message."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        kind = key & 7
        if kind == 0:
            value, position = _varint(data, position)
        else:
            if kind == 2:
                length, position = _varint(data, position)
            elif kind in (1, 5):
                length = 8 if kind == 1 else 4
            else:
                raise ValueError(f'field of kind {kind}')
            value, position = data[position : position + length], position + length
            if position > len(data):
                raise ValueError('cut short')
        yield key >> 3, value


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Reads a number of seven bits per byte, lowest first; gives it and the next position."""
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
