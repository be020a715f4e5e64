"""What is at a destination stays until the new one is whole; nothing half written is left."""

import errno
import os
import shutil

import pytest

from mmllava.checkpoints import check_write, prepare_merge, write_conversion
from mmllava.checkpoints.storage import atomic
from mmllava.errors import CheckpointError
from tests.test_checkpoints.conftest import EXPECTED, merge, refused, sums


def test_what_exists_is_not_replaced_unless_asked(pair):
    merge(pair, 'm.pth')
    merge(pair, 'm')
    refused(pair, r'm.pth exists already.*--overwrite', destination='m.pth')
    refused(pair, r'm exists already.*--overwrite', destination='m')
    before = (pair.root / 'm.pth').read_bytes()
    (pair.root / 'm.pth').write_bytes(before + b'')
    merge(pair, 'm.pth', overwrite=True)
    merge(pair, 'm', overwrite=True)
    assert sums(pair.root / 'm') == sums(pair.root / 'm.pth') == EXPECTED
    assert sorted(p.name for p in pair.root.iterdir()) == ['base', 'delta', 'm', 'm.pth']


def test_an_empty_folder_is_filled(pair):
    (pair.root / 'm').mkdir()
    assert sums(merge(pair, 'm')) == EXPECTED


def test_a_users_files_are_never_replaced(pair):
    (pair.root / 'thesis').mkdir()
    (pair.root / 'thesis/chapter.tex').write_text('x')
    (pair.root / 'notes.pth').write_text('x')
    overwrite = dict(overwrite=True)
    refused(pair, r'thesis was not written by a merge', destination='thesis', **overwrite)
    refused(pair, r'notes.pth .* was not written by a merge', destination='notes.pth', **overwrite)
    merge(pair, 'm')
    (pair.root / 'm/chapter.tex').write_text('x')
    refused(pair, r'm holds chapter.tex, which no merge wrote', destination='m', **overwrite)
    refused(pair, r'base is where the sources lie', destination='base', **overwrite)
    shard = 'delta/pytorch_model-00001-of-00003.bin'
    refused(pair, r'ends in .bin; a destination', destination=shard, **overwrite)


def test_a_failed_overwrite_keeps_what_was_there(pair, monkeypatch):
    merge(pair, 'm')

    def fails(source, target, rename=os.rename):
        if '.part-' in str(source):
            raise OSError(errno.EIO, 'the disk is broken')
        rename(source, target)

    monkeypatch.setattr(atomic.os, 'rename', fails)
    before = pair.listing()
    with pytest.raises(OSError, match='the disk is broken'):
        merge(pair, 'm', overwrite=True)
    assert pair.listing() == before


def test_a_missing_parent_and_a_bare_delta_are_refused(pair):
    refused(pair, r'folder .*nowhere does not exist', destination='nowhere/m')
    (pair.delta / 'tokenizer.model').unlink()
    refused(pair, r'no tokenizer.model or tokenizer.json')
    (pair.delta / 'config.json').unlink()
    refused(pair, r'no config.json, so a folder made of it could not be loaded')
    assert sums(merge(pair, 'm.pth')) == EXPECTED


def test_too_small_a_disk_is_told_before_anything_is_written(pair, monkeypatch):
    usage = shutil.disk_usage('/')._replace(free=5_000_000)
    monkeypatch.setattr(atomic.shutil, 'disk_usage', lambda _: usage)
    refused(pair, r'has 0.01 GB free but merged needs 0.02 GB')
    with pytest.raises(CheckpointError, match='GB free but x.pth needs'):
        check_write(prepare_merge(pair.base, pair.delta), pair.root / 'x.pth')


@pytest.mark.parametrize('destination', ['m', 'm.pth'])
def test_ctrl_c_leaves_nothing_behind(pair, destination):
    def interrupt(_):
        raise KeyboardInterrupt

    before = pair.listing()
    with pytest.raises(KeyboardInterrupt):
        merge(pair, destination, progress=interrupt)
    assert pair.listing() == before


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('destination', ['m', 'm.pth'])
def test_a_disk_that_fills_up_meanwhile_is_left_as_it_was(
    pair, small_disk, monkeypatch, destination
):
    usage = shutil.disk_usage('/')._replace(free=10**12)  # as if it had had room at the start
    monkeypatch.setattr(atomic.shutil, 'disk_usage', lambda _: usage)
    prepared = prepare_merge(pair.base, pair.delta, pair.tower)
    with pytest.raises(OSError, match='No space left'):
        write_conversion(prepared, small_disk / destination)
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize('destination', ['m', 'm.pth'])
@pytest.mark.parametrize('after', [0, 1, 3])
def test_a_write_that_fails_leaves_nothing_behind(pair, monkeypatch, destination, after):
    calls = []

    def full(*_):
        calls.append(1)
        if len(calls) > after:
            raise OSError(errno.ENOSPC, 'No space left on device')

    before = pair.listing()
    with pytest.raises(OSError, match='No space left'):
        merge(pair, destination, progress=full)
    monkeypatch.setattr(atomic.os, 'fsync', full)
    with pytest.raises(OSError, match='No space left'):
        merge(pair, destination)
    assert pair.listing() == before
