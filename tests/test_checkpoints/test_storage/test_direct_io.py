"""A file that is written past the page cache holds the bytes that were written, and no others."""

import errno
import os

import numpy as np
import pytest

from mmllava.checkpoints.conversion.progress import Progress
from mmllava.checkpoints.storage import direct_io
from mmllava.checkpoints.storage.direct_io import PAGE, DirectFile

RANDOM = np.random.default_rng(0).integers(0, 256, 20 * PAGE + 123, np.uint8)
SIZES = [1, PAGE, 3 * PAGE - 1, 5, 9 * PAGE + 9, 0, 2 * PAGE]


@pytest.fixture(autouse=True)
def small_buffers(monkeypatch):
    monkeypatch.setattr(direct_io, 'BUFFER_BYTES', 4 * PAGE)


def write(file, flush):
    """Writes RANDOM in pieces of odd sizes."""
    start, k = 0, 0
    while start < len(RANDOM):
        piece = RANDOM[start : start + SIZES[k % len(SIZES)]]
        assert file.tell() == start
        file.write(memoryview(piece))
        if flush:
            file.flush()
            assert file.path.read_bytes()[: file.tell()] == RANDOM[: file.tell()].tobytes()
        start, k = start + len(piece), k + 1


@pytest.mark.parametrize('flush', [False, True])
@pytest.mark.parametrize('before', [None, PAGE + 1, 30 * PAGE])
def test_the_file_is_what_was_written_whatever_was_there(tmp_path, before, flush):
    path = tmp_path / 'file'
    if before is not None:
        path.write_bytes(b'x' * before)
    file = DirectFile(path)
    write(file, flush)
    file.close()
    assert path.read_bytes() == RANDOM.tobytes()


def test_what_lies_beyond_stays_until_it_is_closed(tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(RANDOM.tobytes())
    file = DirectFile(path)
    file.write(memoryview(b'new' * 2000))
    file.flush()
    assert path.read_bytes() == b'new' * 2000 + RANDOM.tobytes()[6000:]
    file.abort()
    file.abort()
    assert len(path.read_bytes()) == len(RANDOM)


@pytest.mark.parametrize('refuses', ['open', 'pwrite'])
def test_a_disk_that_wants_the_cache_gets_it(tmp_path, monkeypatch, refuses):
    refused = []
    real = getattr(os, refuses)

    def call(first, *rest, **options):
        direct = rest[0] & os.O_DIRECT if refuses == 'open' else first == handle()
        if direct:
            refused.append(first)
            raise OSError(errno.EINVAL, 'Invalid argument')
        return real(first, *rest, **options)

    handle = lambda: file._direct  # noqa: E731
    monkeypatch.setattr(os, refuses, call)
    file = DirectFile(tmp_path / 'file')
    write(file, False)
    file.close()
    assert refused and (tmp_path / 'file').read_bytes() == RANDOM.tobytes()


def test_a_full_disk_is_told_whichever_write_meets_it(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    file = DirectFile(tmp_path / 'file')
    monkeypatch.setattr(os, 'pwrite', full)
    with pytest.raises(OSError, match='No space left'):
        write(file, False)  # from the thread
    file.abort()
    file = DirectFile(tmp_path / 'other')
    file.write(memoryview(b'few'))
    with pytest.raises(OSError, match='No space left'):
        file.close()


def test_a_handle_that_fails_as_it_is_closed_is_not_closed_again(tmp_path, monkeypatch):
    """A network disk may tell of a full quota only then; the number may be another file's soon."""
    file, closed = DirectFile(tmp_path / 'file'), []
    close = os.close

    def late(handle):
        close(handle)
        closed.append(handle)
        raise OSError(errno.EDQUOT, 'Disk quota exceeded')

    handles = {file._plain, file._direct}
    monkeypatch.setattr(os, 'close', late)
    with pytest.raises(OSError, match='Disk quota exceeded'):
        file.close()
    file.abort()
    monkeypatch.undo()
    assert sorted(closed) == sorted(handles)


def test_a_direct_write_that_ends_early_is_finished_through_the_cache(tmp_path, monkeypatch):
    """A disk that is nearly full takes a part; the rest then meets its end, or finds room."""
    real = os.pwrite

    def short(handle, data, offset):
        return real(handle, data[: max(PAGE, len(data) // 2)], offset)

    monkeypatch.setattr(os, 'pwrite', short)
    file = DirectFile(tmp_path / 'file')
    write(file, False)
    file.close()
    assert (tmp_path / 'file').read_bytes() == RANDOM.tobytes()


def test_progress_before_the_first_byte_says_nothing(capsys):
    progress = Progress('convert', 10)
    progress.every_s = 0.0
    progress(0)  # an empty tensor is a piece too
    assert capsys.readouterr().err == ''
    progress(4)
    progress.close()
    assert capsys.readouterr().err.startswith('convert: 0.00 of 0.00 GB')
