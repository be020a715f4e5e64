"""Reads a PyTorch file's table of contents without running its pickle.

torch.save writes a zip: ``data.pkl`` names the tensors (`tensor_pickle` reads it), and
``data/<key>`` holds the bytes of each storage, uncompressed.
"""

import io
import math
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

from mmllava.checkpoints.storage.tensor_entry import DTYPES, TensorEntry
from mmllava.checkpoints.storage.tensor_pickle import Dict, Tensor, UnknownGlobal, load
from mmllava.errors import CheckpointError

_MAX_PICKLE_BYTES = 4_000_000  # names and shapes; LLaMA-7B's takes 30 kB
_MAX_TEXT_BYTES = 256_000_000  # a manifest beside them
_PLAIN = (type(None), bool, int, float, str, bytes)
# OSError: a directory may send the reader to a byte before the first.
_BROKEN_ZIP = (
    zipfile.BadZipFile,
    EOFError,
    NotImplementedError,
    OSError,
    struct.error,
    ValueError,
)
_BROKEN_PICKLE = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
)


def read_torch(file: Path) -> dict[str, TensorEntry]:
    """Reads the names, shapes and places of a PyTorch file's tensors.

    Both ``{name: tensor}`` and ``{'state_dict': {name: tensor}, 'meta': ...}`` are
    taken, the latter with plain data in ``meta``.

    Raises:
        CheckpointError: if the file is cut short, compressed, names code, or holds
            a tensor that does not lie in one row-major piece.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = {info.filename: info for info in archive.infolist()}
            pickles = [n for n in members if n == 'data.pkl' or n.endswith('/data.pkl')]
            if len(pickles) != 1:
                raise CheckpointError(
                    f'{file} is a zip file with {len(pickles)} members data.pkl; a PyTorch '
                    'file has one. Name a file that torch.save wrote.'
                )
            root = pickles[0].removesuffix('data.pkl')
            data = _read_small(file, archive, members[pickles[0]], _MAX_PICKLE_BYTES)
            order = members.get(f'{root}byteorder')
            if order and _read_small(file, archive, order, 16) != b'little':
                raise CheckpointError(
                    f'{file} was written on a big-endian machine. Save it again on a '
                    'little-endian one, or as safetensors.'
                )
    except _BROKEN_ZIP as error:
        raise CheckpointError(
            f'{file} is cut short or damaged: {file.stat().st_size:,} bytes found, without the '
            f'directory that ends a PyTorch file ({error}). Download or copy it again.'
        ) from error
    try:
        return _entries(_tensors(load(data), file), file, members, root)
    except UnknownGlobal as error:
        raise CheckpointError(
            f'{file} names {str(error)[:200]}: code that reading it would run, or an object that '
            'is no tensor. Only tensors are read here, and nothing was run. If you trust the '
            'file, save its tensors as safetensors with the program that wrote it; if you do not, '
            'delete it.'
        ) from error
    except _BROKEN_PICKLE as error:
        raise CheckpointError(
            f'{file} is damaged: the list of its tensors cannot be read '
            f'({type(error).__name__}: {error}). Download the file again, or save it as '
            'safetensors.'
        ) from error


def has_member(file: Path, name: str) -> bool:
    """Tells whether a file is a PyTorch file with a member of this name beside its list."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
    except _BROKEN_ZIP:
        return False
    roots = [n.removesuffix('data.pkl') for n in names if n.rpartition('/')[2] == 'data.pkl']
    return len(roots) == 1 and f'{roots[0]}{name}' in names


def _read_small(
    file: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit_bytes: int
) -> bytes:
    """Reads one member that is not a tensor."""
    stored = info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1
    if not stored or info.file_size > limit_bytes:
        raise CheckpointError(
            f'{file}: {info.filename} is compressed, encrypted or has more than '
            f'{limit_bytes:,} bytes ({info.file_size:,}); torch.save writes no such '
            'thing. Save the file again.'
        )
    return archive.read(info)


def _tensors(top: Any, file: Path) -> dict[str, Tensor]:
    """Finds name -> tensor in what the pickle holds."""
    if isinstance(top, dict) and isinstance(top.get('state_dict'), dict):
        rest = {key: value for key, value in top.items() if key != 'state_dict'}
        top = top['state_dict']
        if not _is_plain(rest):
            raise CheckpointError(
                f'{file} holds more than a state_dict and plain data beside it '
                f'({", ".join(map(str, rest))}). Save its state_dict alone.'
            )
    if not isinstance(top, dict):
        raise CheckpointError(
            f'{file} holds one {type(top).__name__.lower()}, expected a dict from names to '
            "tensors. Save the model's state_dict()."
        )
    for name, value in top.items():
        if type(name) is not str or type(value) is not Tensor:
            raise CheckpointError(
                f'{file}: {name!r} is a {type(value).__name__.lower()}, expected a tensor. '
                'Save the weights alone, without optimizer or training state.'
            )
    return top


def _is_plain(value: Any) -> bool:
    """Tells whether a value is numbers, text and containers of them.

    A pickle can put a list into itself, or one list into another twice, and so on: each
    is looked at once.
    """
    waiting, seen = [value], set()
    while waiting:
        value = waiting.pop()
        if type(value) in (dict, Dict, list, tuple):  # a tensor is another kind of tuple
            if id(value) not in seen:
                seen.add(id(value))
                waiting.extend(value)
                waiting.extend(value.values() if isinstance(value, dict) else ())
        elif not isinstance(value, _PLAIN):
            return False
    return True


def _entries(
    tensors: dict[str, Tensor], file: Path, members: dict[str, zipfile.ZipInfo], root: str
) -> dict[str, TensorEntry]:
    entries, places = {}, {}
    with open(file, 'rb') as handle:
        for name, tensor in tensors.items():
            member = members.get(f'{root}data/{tensor.storage.key}')
            entries[name] = _entry(name, tensor, file, member, handle, places)
    return entries


def _entry(
    name: str,
    tensor: Tensor,
    file: Path,
    member: zipfile.ZipInfo | None,
    handle: io.BufferedReader,
    places: dict[str, int],
) -> TensorEntry:
    """Turns a tensor of the pickle into a place in the file."""
    storage, itemsize = tensor.storage, DTYPES[tensor.storage.dtype].itemsize
    count = math.prod(tensor.shape)
    if not _is_contiguous(tensor):
        raise CheckpointError(
            f'{file}: {name} has strides {tensor.strides} for shape {tensor.shape}, so its rows '
            'do not lie in order. Call .contiguous() on it and save the file again.'
        )
    if member is None or member.file_size != storage.count * itemsize:
        found = 'is missing' if member is None else f'has {member.file_size:,} bytes'
        raise CheckpointError(
            f'{file}: the storage of {name} {found}; {storage.count * itemsize:,} bytes '
            'expected. Download or copy the file again.'
        )
    if tensor.first < 0 or tensor.first + count > storage.count:
        raise CheckpointError(
            f'{file}: {name} begins at value {tensor.first:,} and ends at value '
            f'{tensor.first + count:,} of a storage that has {storage.count:,}. The file is '
            'damaged; download it again.'
        )
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
        raise CheckpointError(
            f'{file}: {name} is compressed inside the file; torch.save never does that. '
            'Load it with the program that wrote it and save it again.'
        )
    if storage.key not in places:
        places[storage.key] = _data_offset(handle, member, file)
    offset = places[storage.key] + tensor.first * itemsize
    return TensorEntry(name, storage.dtype, tensor.shape, file, offset, count * itemsize)


def _is_contiguous(tensor: Tensor) -> bool:
    """Tells whether the values lie row by row, as torch means it."""
    expected = 1
    if 0 in tensor.shape:
        return True
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.strides), strict=True):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


def _data_offset(handle: io.BufferedReader, member: zipfile.ZipInfo, file: Path) -> int:
    """Byte at which a member's data begins: after its own header, name and padding.

    The header's two lengths stand nowhere else, so what they measure is checked: the name is
    the directory's, and the padding is whole fields. Else the data would begin elsewhere.
    """
    handle.seek(max(member.header_offset, 0))
    local = handle.read(30)
    sound = member.header_offset >= 0 and len(local) == 30 and local[:4] == b'PK\x03\x04'
    name_length, extra_length = struct.unpack('<HH', local[26:30]) if sound else (0, 0)
    name, extra = handle.read(name_length), handle.read(extra_length)
    if not sound or name != _raw_name(member) or not _is_fields(extra, extra_length):
        raise CheckpointError(
            f'{file}: {member.filename} is not where the directory says (byte '
            f'{member.header_offset:,}). The file is damaged; download it again.'
        )
    start = member.header_offset + 30 + name_length + extra_length
    if start + member.file_size > file.stat().st_size:
        raise CheckpointError(
            f'{file} is cut short: {file.stat().st_size:,} bytes found, '
            f'{start + member.file_size:,} expected. Download or copy it again.'
        )
    return start


def _raw_name(member: zipfile.ZipInfo) -> bytes:
    """A member's name as the file has it."""
    return member.orig_filename.encode('utf-8' if member.flag_bits & 0x800 else 'cp437')


def _is_fields(extra: bytes, length: int) -> bool:
    """Tells whether bytes are a zip's extra fields: (two bytes, a length, so many bytes) each."""
    at = 0
    while at + 4 <= len(extra):
        at += 4 + int.from_bytes(extra[at + 2 : at + 4], 'little')
    return at == length == len(extra)


def read_member(file: Path, name: str) -> bytes | None:
    """Reads a text that lies in a PyTorch file beside its list; None where there is none."""
    if not has_member(file, name):
        return None
    with zipfile.ZipFile(file) as archive:
        found = next(i for i in archive.infolist() if i.filename.partition('/')[2] == name)
        return _read_small(file, archive, found, _MAX_TEXT_BYTES)
