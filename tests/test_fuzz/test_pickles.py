"""PyTorch files from elsewhere: pickles that would hang, flood or crash a reader."""

import io
import pickle
import random
import zipfile
from functools import partial

import pytest
import torch

from mmllava.checkpoints import read_entries
from mmllava.errors import CheckpointError
from tests.helpers.fuzz import SEED, change_bytes, count, try_inputs

EXPONENTIAL = b')' + b'q\x00h\x00h\x00\x86' * 60  # a tuple of itself twice, sixty times
SIZE = b'ctorch\nSize\nh\x00\x85R'
DICT = b'ccollections\nOrderedDict\nh\x00\x85R'
BOMBS = dict(
    a_memo_of_2_to_the_31=b'Nr\xff\xff\xff\x7f.',
    a_text_of_4_gigabytes=b'X\xff\xff\xff\xff',
    a_number_of_a_million_digits=b'I' + b'9' * 1_000_000 + b'\n.',
    a_key_nested_100_000_deep=b'}' + b')' + b'\x85' * 100_000 + b'Ns.',
    a_key_of_2_to_the_60_parts=b'}' + EXPONENTIAL + b'Ns.',
    a_set_of_2_to_the_60_parts=b'\x8f(' + EXPONENTIAL + b'\x90.',
    a_storage_named_by_2_to_the_60_parts=b'(' + EXPONENTIAL + b'NNNNtQ.',
    a_shape_copied_again_and_again=b'(' + b'K\x01' * 50_000 + b'tq\x00' + SIZE * 40_000,
    a_dict_copied_again_and_again=b'](' + b'K\x01K\x02\x86' * 50_000 + b'eq\x00' + DICT * 40_000,
    nothing_but_lists=b']' * 500_000,
)


def write(file, body):
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr('archive/data.pkl', b'\x80\x02' + body)


@pytest.mark.parametrize('name', BOMBS)
def test_a_bomb_is_refused_in_no_time_and_space(tmp_path, name):
    write(tmp_path / 'm.pth', BOMBS[name])
    counts = try_inputs(iter([(name, partial(read_entries, tmp_path / 'm.pth'))]))
    assert counts == dict(refused=1)


def test_a_list_of_tensors_beyond_the_limit_is_refused(tmp_path):
    write(tmp_path / 'm.pth', b'}' * 4_000_001)
    with pytest.raises(CheckpointError, match=r'more than 4,000,000 bytes \(4,000,003\)'):
        read_entries(tmp_path / 'm.pth')


@pytest.mark.parametrize('protocol', [0, 1, 2, 4, 5])
def test_a_changed_pickle_is_read_or_refused(tmp_path, protocol):
    """Of protocols that torch.save does not write too: no opcode is more than it looks."""
    buffer = io.BytesIO()
    torch.save(
        {'state_dict': {'a': torch.ones(2), 'b': torch.ones(3, 4)}, 'meta': {'x': [1]}}, buffer
    )
    with zipfile.ZipFile(buffer) as archive:
        name = next(n for n in archive.namelist() if n.endswith('data.pkl'))
        tensors = archive.read(name)
    original = (
        tensors
        if protocol == 2
        else pickle.dumps({'a': [1, 2.5, 'x', b'y', (None, True)]}, protocol)
    )
    rng = random.Random(SEED)

    def inputs():
        for _ in range(count(100)):
            changed, what = change_bytes(original, rng)
            write(tmp_path / 'm.pth', changed.removeprefix(b'\x80\x02'))
            yield what, partial(read_entries, tmp_path / 'm.pth')

    assert try_inputs(inputs())['refused']
