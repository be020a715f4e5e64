"""The header of a safetensors file: read with every promise checked, and written.

The format (https://github.com/huggingface/safetensors#format): eight bytes, the
length N of the header as a little-endian number; N bytes of JSON, tensor name ->
dtype, shape, [begin, end) counted from the header's end; then the tensors.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmllava.checkpoints.storage.tensor_entry import TensorEntry, nbytes_of
from mmllava.errors import CheckpointError

CODES = {  # the format's name -> ours
    'F64': 'float64',
    'F32': 'float32',
    'F16': 'float16',
    'BF16': 'bfloat16',
    'I64': 'int64',
    'I32': 'int32',
    'I16': 'int16',
    'I8': 'int8',
    'U8': 'uint8',
    'BOOL': 'bool',
}
_MAX_HEADER_BYTES = 100_000_000  # the reference implementation's limit
_AGAIN = 'Download or copy the file again.'


def begins_as_safetensors(first: bytes) -> bool:
    """Tells a safetensors file by its first nine bytes: a possible length, and ``{``.

    The length alone tells nothing: it may begin as a pickle or a zip file does.
    """
    return first[8:9] == b'{' and int.from_bytes(first[:8], 'little') <= _MAX_HEADER_BYTES


def read_safetensors(file: Path) -> dict[str, TensorEntry]:
    """Reads the header of one file; no tensor is read.

    Returns:
        name -> entry, in the order in which they lie in the file.

    Raises:
        CheckpointError: if the file is cut short or its header breaks a promise
            of the format (a length, a shape, tensors that overlap or leave holes).
    """
    header, start, size = _read_header(file)
    entries = sorted(
        (_entry(file, name, fields, start) for name, fields in header.items()),
        key=lambda entry: (entry.offset, entry.nbytes),
    )
    end = start
    for entry in entries:
        if entry.offset != end:
            what = 'overlaps the tensor before it' if entry.offset < end else 'leaves a hole'
            raise CheckpointError(
                f'{file}: {entry.name} {what}: it begins at byte {entry.offset:,}, '
                f'expected {end:,}. The header is damaged. {_AGAIN}'
            )
        end = entry.offset + entry.nbytes
    if size != end:
        what = 'is cut short' if size < end else 'has bytes that no tensor owns'
        raise CheckpointError(
            f'{file} {what}: {size:,} bytes found, {end:,} expected by its header. {_AGAIN}'
        )
    return {entry.name: entry for entry in entries}


def safetensors_header(tensors: Sequence[tuple[str, str, tuple[int, ...]]]) -> bytes:
    """Builds the header for tensors written back to back in this order.

    Args:
        tensors: (name, dtype, shape) of each.

    Returns:
        the length and the JSON, padded with spaces so that the tensors begin at
        a multiple of 64 bytes.
    """
    code = {ours: theirs for theirs, ours in CODES.items()}
    # transformers asks for this entry to know that the names are PyTorch's.
    fields: dict[str, Any] = {'__metadata__': {'format': 'pt'}}
    begin = 0
    for name, dtype, shape in tensors:
        end = begin + nbytes_of(dtype, shape)
        fields[name] = dict(dtype=code[dtype], shape=list(shape), data_offsets=[begin, end])
        begin = end
    text = json.dumps(fields, separators=(',', ':')).encode()
    text += b' ' * (-(8 + len(text)) % 64)
    return len(text).to_bytes(8, 'little') + text


def _read_header(file: Path) -> tuple[dict[str, Any], int, int]:
    """Gives (tensor name -> fields, byte where the tensors begin, size of the file)."""
    size = file.stat().st_size
    with open(file, 'rb') as handle:
        first = handle.read(8)
        length = int.from_bytes(first, 'little')
        if len(first) < 8 or length > min(size - 8, _MAX_HEADER_BYTES):
            raise CheckpointError(
                f'{file} is cut short or no safetensors file: {size:,} bytes found, but its '
                f'first eight say that the header alone has {length:,}. {_AGAIN}'
            )
        text = handle.read(length)
    if text[:1] != b'{':  # the format demands it as the first byte
        raise CheckpointError(f'{file}: the header is no table of tensors. {_AGAIN}')
    try:
        header = json.loads(text, object_pairs_hook=no_doubles)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f'{file}: the header cannot be read: {error}. {_AGAIN}') from error
    header.pop('__metadata__', None)
    return header, 8 + length, size


def _entry(file: Path, name: str, fields: Any, start: int) -> TensorEntry:
    """Checks one line of the header and makes it an entry."""
    try:
        dtype, shape, (begin, end) = fields['dtype'], fields['shape'], fields['data_offsets']
        sound = isinstance(dtype, str) and isinstance(shape, list)
        sound = sound and all(type(n) is int and n >= 0 for n in (*shape, begin, end))
    except (KeyError, TypeError, ValueError):
        sound = False
    if not sound:
        raise CheckpointError(
            f'{file}: the header says of {name!r}: {str(fields)[:200]}; expected a dtype, a '
            f'shape and two offsets. {_AGAIN}'
        )
    if dtype not in CODES:
        raise CheckpointError(
            f'{file}: {name} is of type {dtype}; known here: {", ".join(CODES)}. '
            'Convert the file to float16 with the program that wrote it.'
        )
    expected = nbytes_of(CODES[dtype], tuple(shape))
    if end - begin != expected:
        raise CheckpointError(
            f'{file}: {name} has {end - begin:,} bytes, but {dtype} of shape {shape} needs '
            f'{expected:,}. The header is damaged. {_AGAIN}'
        )
    return TensorEntry(name, CODES[dtype], tuple(shape), file, start + begin, expected)


def no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Builds a JSON object and refuses a name that is written twice."""
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'{twice!r} is there twice')
    return made
