"""A pickle cannot change what was checked, and every error it causes is ours."""

import pickle
import zipfile

import pytest
import torch

from mmllava.checkpoints import read_entries
from mmllava.checkpoints.storage.writer import TorchSink
from mmllava.errors import CheckpointError


def part(value):
    """The opcodes of a plain value."""
    return pickle.dumps(value, protocol=2)[2:-1]


STORAGE = b'(' + part('storage') + b'ctorch\nFloatStorage\n' + part('0') + part('cpu')
STORAGE += part(2) + b'tQ'
TENSOR = b'ctorch._utils\n_rebuild_tensor_v2\n(' + STORAGE + part(0) + part((2,)) + part((1,))
TENSOR += b'\x89}tR'


def write(file, body):
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr('archive/data.pkl', b'\x80\x02' + body + b'.')
        archive.writestr('archive/data/0', bytes(8))


def test_the_file_that_the_others_spoil_is_read(tmp_path):
    write(tmp_path / 'm.pth', b'}' + part('a') + TENSOR + b's')
    assert read_entries(tmp_path / 'm.pth')['a'].shape == (2,)


@pytest.mark.parametrize(
    'state',
    [
        part(['storage', -3, (2,), (1,)]),  # as a frozen dataclass with slots takes it
        b'(' + STORAGE + part(-3) + part((2,)) + part((1,)) + b'l',
        b'(' + STORAGE + part(0) + part(('a',)) + part((1,)) + b'l',
        b'(' + part('foreign') + part(0) + part((2,)) + part((1,)) + b'l',
        part((None, {'first': -3})),
        part({'first': -3}),
    ],
)
def test_a_tensor_cannot_be_changed_once_it_was_checked(tmp_path, state):
    write(tmp_path / 'm.pth', b'}' + part('a') + TENSOR + state + b'bs')
    with pytest.raises(CheckpointError, match='is damaged'):
        read_entries(tmp_path / 'm.pth')


def test_a_storage_cannot_be_changed_once_it_was_checked(tmp_path):
    changed = STORAGE + part(['float32', '0', 2**40]) + b'b'
    tensor = TENSOR.replace(STORAGE, changed)
    write(tmp_path / 'm.pth', b'}' + part('a') + tensor + b's')
    with pytest.raises(CheckpointError, match='is damaged'):
        read_entries(tmp_path / 'm.pth')


def test_a_compressed_storage_is_refused(tmp_path):
    """Its bytes would be taken for values."""
    with zipfile.ZipFile(tmp_path / 'm.pth', 'w') as archive:
        archive.writestr('archive/data.pkl', b'\x80\x02}' + part('a') + TENSOR + b's.')
        archive.writestr('archive/data/0', bytes(8), zipfile.ZIP_DEFLATED)
        archive.writestr('archive/version', b'3' * 99)
    with pytest.raises(CheckpointError, match='a is compressed inside the file; torch.save never'):
        read_entries(tmp_path / 'm.pth')


@pytest.mark.parametrize('order', [b'little', b'big'])
def test_a_file_of_a_big_endian_machine_is_refused(tmp_path, order):
    write(tmp_path / 'm.pth', b'}' + part('a') + TENSOR + b's')
    with zipfile.ZipFile(tmp_path / 'm.pth', 'a') as archive:
        archive.writestr('archive/byteorder', order)
    if order == b'little':
        assert list(read_entries(tmp_path / 'm.pth')) == ['a']
    else:
        with pytest.raises(CheckpointError, match='was written on a big-endian machine'):
            read_entries(tmp_path / 'm.pth')


@pytest.mark.parametrize('written', ['torch', 'here'])
def test_a_bit_flipped_where_a_storage_begins_never_moves_its_values(tmp_path, written):
    """Its header alone says how long its name and padding are: the values come after."""
    file = tmp_path / 'm.pth'
    tensors = {name: torch.arange(64.0) + k for k, name in enumerate('abc')}
    if written == 'torch':
        torch.save(tensors, file)
    else:
        sink = TorchSink(file, [(name, 'float32', (64,)) for name in tensors])
        for k, tensor in enumerate(tensors.values()):
            sink.begin(k)
            sink.write(memoryview(tensor.numpy().view('u1')))
        sink.close()
    data, entry = file.read_bytes(), read_entries(file)['b']
    with zipfile.ZipFile(file) as archive:
        info = next(i for i in archive.infolist() if i.filename.endswith('data/1'))
    start, refused = info.header_offset, 0
    padding = start + 30 + len(info.filename)  # two bytes that mean nothing, and its length
    for position in (*range(start + 26, start + 32), *range(padding, padding + 4)):
        for bit in range(8):
            spoiled = bytearray(data)
            spoiled[position] ^= 1 << bit
            file.write_bytes(spoiled)
            try:
                assert read_entries(file)['b'] == entry, (position - start, bit)
            except CheckpointError as error:
                assert 'data/1 is not where the directory says' in str(error)
                refused += 1
    assert refused >= 60  # of 80; the two bytes mean nothing, and zeros may be fields too


def with_meta(meta):
    return (
        b'}'
        + part('state_dict')
        + b'}'
        + part('a')
        + TENSOR
        + b's'
        + b's'
        + (part('meta') + meta + b's')
    )


def itself():
    made = []
    made.append(made)
    return made


def nested(depth):
    """A list of ``depth`` levels, by opcodes: pickle itself would recurse."""
    return b']' * depth + b'a' * (depth - 1)


def doubled(levels):
    """``levels`` lists, each with the next one twice: 2 ** levels paths."""
    made = []
    for _ in range(levels):
        made = [made, made]
    return made


@pytest.mark.parametrize('meta', [part(itself()), nested(100_000), part(doubled(60))])
def test_plain_data_beside_the_tensors_may_be_as_deep_as_it_likes(tmp_path, meta):
    write(tmp_path / 'm.pth', with_meta(meta))
    assert list(read_entries(tmp_path / 'm.pth')) == ['a']


@pytest.mark.parametrize('meta', [TENSOR, STORAGE, b'](' + TENSOR + b'e'])
def test_a_tensor_beside_the_state_dict_is_no_plain_data(tmp_path, meta):
    write(tmp_path / 'm.pth', with_meta(meta))
    with pytest.raises(CheckpointError, match='holds more than a state_dict and plain data'):
        read_entries(tmp_path / 'm.pth')


def test_an_error_while_the_places_are_looked_up_is_told_as_damage(tmp_path, monkeypatch):
    torch.save({'a': torch.ones(2)}, tmp_path / 'm.pth')
    for error in (TypeError, AttributeError, RecursionError):

        def fails(*_, error=error):
            raise error('odd')

        monkeypatch.setattr('mmllava.checkpoints.storage.torch_file._entry', fails)
        with pytest.raises(CheckpointError, match=rf'is damaged.*{error.__name__}: odd'):
            read_entries(tmp_path / 'm.pth')
