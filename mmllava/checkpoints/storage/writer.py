"""Tensors come in order, piece by piece; a weight file grows. No torch.

Two shapes of output with the same three verbs (begin, write, close): a folder of
safetensors shards, and one PyTorch file as torch.save writes it.
"""

import json
import pickle
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from mmllava.checkpoints.storage.direct_io import DirectFile
from mmllava.checkpoints.storage.safetensors_file import safetensors_header
from mmllava.checkpoints.storage.tensor_entry import nbytes_of
from mmllava.errors import CheckpointError

Layout = Sequence[tuple[str, str, tuple[int, ...]]]  # (name, dtype, shape) in order

SHARD_BYTES = 5_000_000_000
INDEX = 'model.safetensors.index.json'
_STORAGE_NAMES = {
    'float64': 'DoubleStorage',
    'float32': 'FloatStorage',
    'float16': 'HalfStorage',
    'bfloat16': 'BFloat16Storage',
    'int64': 'LongStorage',
    'int32': 'IntStorage',
    'int16': 'ShortStorage',
    'int8': 'CharStorage',
    'uint8': 'ByteStorage',
    'bool': 'BoolStorage',
}
_ALIGNMENT = 64  # bytes; torch's own, so that a mapped tensor is aligned
_SHORT_BYTES = (2**31 - 1) / 1.05  # up to which the standard library takes zip's short form


class Sink(Protocol):
    """Writes tensors in order: ``begin`` the next of the layout, ``write`` its bytes, ``close``.

    ``begin`` of the tensor that is begun already does nothing. ``abort`` instead of
    ``close`` lets go of the files, whatever state they are in. A sink that is opened over
    what an earlier one left writes over it; ``place`` says where the tensor begun last lies.
    """

    def begin(self, index: int) -> None: ...

    def place(self) -> tuple[Path, int]: ...

    def write(self, data: memoryview) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


def _open_over(file: Path) -> BinaryIO:
    """Opens a file for writing from its start; what it holds beyond stays until it is cut."""
    return open(file, 'r+b' if file.exists() else 'xb')


class SafetensorsSink:
    """Writes ``model-0000k-of-0000n.safetensors`` and their index into a folder.

    Args:
        folder: is made, or holds what an earlier sink of the same layout left.
        layout: every tensor that will come, in order.
        metadata: further entries of the index's ``metadata``.
        shard_bytes: tensors per file, in bytes; a larger tensor has its own file.
    """

    def __init__(
        self,
        folder: Path,
        layout: Layout,
        metadata: dict[str, str],
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._layout = layout
        self._metadata = metadata
        shards = split(layout, shard_bytes)
        self._names = [
            f'model-{k + 1:05}-of-{len(shards):05}.safetensors' for k in range(len(shards))
        ]
        self._starts = {shard[0]: k for k, shard in enumerate(shards)}
        self._shards = shards
        self._handle: DirectFile | None = None
        self._begun = -1

    @property
    def files(self) -> dict[str, str]:
        """Tensor name -> file name, for every tensor of the layout."""
        return {
            self._layout[k][0]: name
            for shard, name in zip(self._shards, self._names, strict=True)
            for k in shard
        }

    def begin(self, index: int) -> None:
        """Opens the next shard where the tensor is its first."""
        if index == self._begun:
            return
        self._begun = index
        if index in self._starts:
            self._close_shard()
            shard = self._starts[index]
            self._handle = DirectFile(self._folder / self._names[shard])
            tensors = [self._layout[k] for k in self._shards[shard]]
            self._handle.write(memoryview(safetensors_header(tensors)))

    def place(self) -> tuple[Path, int]:
        """File and offset of the next byte."""
        return self._handle.path, self._handle.tell()

    def write(self, data: memoryview) -> None:
        """Appends to the tensor begun last."""
        self._handle.write(data)

    def flush(self) -> None:
        """Hands what is buffered to the system: it outlives this process then."""
        self._handle.flush()

    def close(self) -> None:
        """Closes the last shard and writes the index."""
        self._close_shard()
        total = sum(nbytes_of(dtype, shape) for _, dtype, shape in self._layout)
        index = dict(metadata=dict(total_size=total, **self._metadata), weight_map=self.files)
        (self._folder / INDEX).write_text(json.dumps(index, indent=2) + '\n')

    def abort(self) -> None:
        """Closes the open shard, which is lost."""
        with suppress(OSError):
            if self._handle is not None:
                self._handle.abort()

    def _close_shard(self) -> None:
        if self._handle is not None:
            self._handle.close()


class TorchSink:
    """Writes one file that ``torch.load(weights_only=True, mmap=True)`` reads as a dict.

    The standard library's zipfile counts the checksums and writes the long form
    (zip64) where a size needs it.

    Args:
        file: is made, or is what an earlier sink of the same layout left.
        layout: every tensor that will come, in order.
        metadata: text for further members, by name; torch.load passes over them.
    """

    def __init__(self, file: Path, layout: Layout, metadata: dict[str, str] | None = None) -> None:
        self._raw = _open_over(file)
        self._zip = zipfile.ZipFile(self._raw, 'w')
        self._layout = layout
        self._member: BinaryIO | None = None
        self._begun = -1
        # Where each lies inside: the file itself may get another name.
        self.files = {name: f'data/{k}' for k, (name, _, _) in enumerate(layout)}
        self._add('data.pkl', torch_pickle(layout))
        self._add('byteorder', b'little')
        for name, text in (metadata or {}).items():
            self._add(name, text.encode())

    def begin(self, index: int) -> None:
        """Opens the storage of the next tensor, its data at a multiple of 64 bytes."""
        if index == self._begun:
            return
        self._begun = index
        self._close_member()
        _, dtype, shape = self._layout[index]
        self._member = self._open(f'data/{index}', nbytes_of(dtype, shape))

    def place(self) -> tuple[Path, int]:
        """File and offset of the next byte."""
        return Path(self._raw.name), self._raw.tell()

    def write(self, data: memoryview) -> None:
        """Appends to the tensor begun last."""
        self._member.write(data)

    def flush(self) -> None:
        """Hands what is buffered to the system: it outlives this process then."""
        self._raw.flush()

    def attach(self, name: str, text: str) -> None:
        """Adds a member with a text; after the last tensor."""
        self._close_member()
        self._member = None
        self._add(name, text.encode())

    def close(self) -> None:
        """Writes the zip's directory."""
        self._close_member()
        self._add('version', b'3\n')
        self._zip.close()
        self._raw.truncate()
        self._raw.close()

    def abort(self) -> None:
        """Closes the file, which is lost; a full disk cannot take its directory either."""
        for part in (self._member, self._zip, self._raw):
            with suppress(OSError, ValueError):
                if part is not None:
                    part.close()

    def _add(self, name: str, data: bytes) -> None:
        with self._open(name, len(data)) as member:
            member.write(data)

    def _open(self, name: str, nbytes: int) -> BinaryIO:
        # No clock: the same conversion gives the same bytes.
        info = zipfile.ZipInfo(f'archive/{name}', (1980, 1, 1, 0, 0, 0))
        info.file_size = nbytes
        zip64 = nbytes > _SHORT_BYTES
        # Local header: 30 bytes, the name, zip64's 20, and a field of our own
        # ('FB' as torch has it, its length, zeros) that makes the sum a multiple of 64.
        start = self._raw.tell() + 30 + len(info.filename) + 20 * zip64 + 4
        padding = -start % _ALIGNMENT
        info.extra = b'FB' + padding.to_bytes(2, 'little') + bytes(padding)
        return self._zip.open(info, 'w', force_zip64=zip64)

    def _close_member(self) -> None:
        if self._member is not None:
            self._member.close()


def split(layout: Layout, shard_bytes: int) -> list[list[int]]:
    """Cuts a layout into shards: lists of positions, in order, none empty."""
    shards: list[list[int]] = []
    room = 0
    for k, (_, dtype, shape) in enumerate(layout):
        nbytes = nbytes_of(dtype, shape)
        if not shards or nbytes > room:
            shards.append([])
            room = shard_bytes
        shards[-1].append(k)
        room -= nbytes
    return shards


def torch_pickle(layout: Layout) -> bytes:
    """Writes the pickle of ``{name: tensor}`` as torch.save does, opcode by opcode.

    Tensor k is row-major and owns the storage ``data/k``. The plain parts come
    from pickle itself, without its first two bytes (protocol) and its last (stop).
    """
    rebuild = b'ctorch._utils\n_rebuild_tensor_v2\n'
    no_hooks = b'ccollections\nOrderedDict\n)R'
    out = [b'\x80\x02}(']  # protocol 2, an empty dict, a mark
    for k, (name, dtype, shape) in enumerate(layout):
        if dtype not in _STORAGE_NAMES:
            raise CheckpointError(f'{name}: a PyTorch file cannot hold {dtype} here.')
        strides, count = [], 1
        for size in reversed(shape):
            strides.insert(0, count)
            count *= size
        storage = b''.join(
            (b'(', _plain('storage'), b'ctorch\n', _STORAGE_NAMES[dtype].encode(), b'\n')
        )
        storage += b''.join((_plain(str(k)), _plain('cpu'), _plain(count), b'tQ'))
        # name, then function, arguments, call: (storage, 0, shape, strides, False, {})
        out += [_plain(name), rebuild, b'(', storage, _plain(0), _plain(tuple(shape))]
        out += [_plain(tuple(strides)), b'\x89', no_hooks, b'tR']
    return b''.join(out) + b'u.'


def _plain(value: object) -> bytes:
    return pickle.dumps(value, protocol=2)[2:-1]
