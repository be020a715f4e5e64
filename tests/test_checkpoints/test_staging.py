"""What is replaced is what a merge wrote, and there is never a moment without it."""

import os
import shutil
import subprocess
import zipfile

import pytest
import torch

from mmllava.checkpoints import prepare_merge, read_config, staging, write_merge
from mmllava.checkpoints.deliver import _may_replace_folder
from mmllava.checkpoints.journal import journal_of
from mmllava.checkpoints.staging import check_destination, staged
from mmllava.errors import CheckpointError


@pytest.fixture
def prepared(pair):
    return prepare_merge(pair.base, pair.delta)


def test_a_merged_file_has_a_mark_that_torch_passes_over(pair, prepared):
    file = pair.root / 'm.pth'
    write_merge(prepared, file)
    with zipfile.ZipFile(file) as archive:
        assert archive.read('archive/merged_by').startswith(b'mmllava ')
    assert len(torch.load(file, weights_only=True, mmap=True)) == 23
    write_merge(prepared, file, overwrite=True)


def test_a_users_own_weights_are_not_overwritten(pair, prepared):
    file = pair.root / 'mine.pth'
    torch.save({'a': torch.ones(3)}, file)
    before = file.read_bytes()
    message = rf'mine.pth \({len(before):,} bytes\) was not written by a merge.* another name'
    with pytest.raises(CheckpointError, match=message):
        write_merge(prepared, file, overwrite=True)
    # nor is a merge that was trained further and saved under its name
    write_merge(prepared, pair.root / 'm.pth')
    torch.save(torch.load(pair.root / 'm.pth', weights_only=True), pair.root / 'm.pth')
    with pytest.raises(CheckpointError, match='was not written by a merge'):
        write_merge(prepared, pair.root / 'm.pth', overwrite=True)
    assert file.read_bytes() == before


def put(destination, content, folder):
    """Writes a file, or a folder with one file, through ``staged``."""
    with staged(destination, 0, lambda _: None) as part:
        if folder:
            part.mkdir()
        (part / 'x' if folder else part).write_text(content)


def text(destination):
    return (destination / 'x' if destination.is_dir() else destination).read_text()


@pytest.mark.parametrize('folder', [False, True])
def test_a_replacement_leaves_only_the_new_one(tmp_path, folder):
    for content in ('old', 'new'):
        put(tmp_path / 'm', content, folder)
        assert text(tmp_path / 'm') == content
    assert os.listdir(tmp_path) == ['m']


def test_an_empty_folder_makes_way_for_a_file(tmp_path):
    (tmp_path / 'm').mkdir()
    put(tmp_path / 'm', 'new', False)
    assert text(tmp_path / 'm') == 'new' and os.listdir(tmp_path) == ['m']


def test_a_file_is_replaced_in_one_step(tmp_path, monkeypatch):
    put(tmp_path / 'm', 'old', False)

    def no_rename(*_):
        raise AssertionError('the old file was renamed away')

    monkeypatch.setattr(staging.os, 'rename', no_rename)
    put(tmp_path / 'm', 'new', False)
    assert text(tmp_path / 'm') == 'new'


@pytest.mark.parametrize(('after', 'expected'), [(1, 'old'), (2, 'new')])
def test_ctrl_c_just_after_a_rename_leaves_one_whole_folder(tmp_path, monkeypatch, after, expected):
    put(tmp_path / 'm', 'old', True)
    calls, rename = [], os.rename

    def interrupted(source, target):
        rename(source, target)
        calls.append(source)
        if len(calls) == after:
            raise KeyboardInterrupt

    monkeypatch.setattr(staging.os, 'rename', interrupted)
    with pytest.raises(KeyboardInterrupt):
        put(tmp_path / 'm', 'new', True)
    assert text(tmp_path / 'm') == expected and os.listdir(tmp_path) == ['m']


@pytest.mark.skipif(os.name != 'posix', reason='processes are looked up on POSIX alone')
def test_what_a_killed_run_left_is_named_where_the_disk_is_short(tmp_path, monkeypatch):
    gone = subprocess.Popen(['true'])
    gone.wait()
    names = [f'.m.part-{gone.pid}', f'.m.old-{gone.pid}', f'.m.part-{10**30}']
    kept = [f'.m.part-{os.getppid()}', '.m.part-x', f'.other.part-{gone.pid}']
    for name in names + kept:
        (tmp_path / name).write_text('x')
    usage = shutil.disk_usage('/')._replace(free=5)
    monkeypatch.setattr(staging.shutil, 'disk_usage', lambda _: usage)
    with pytest.raises(CheckpointError, match='GB free but m needs') as caught:
        check_destination(tmp_path / 'm', 10**9, None)
    for name in names:
        assert f'left {tmp_path / name}, which may be deleted.' in str(caught.value)
    assert not any(f'{name},' in str(caught.value) for name in kept)
    assert sorted(os.listdir(tmp_path)) == sorted(names + kept)


def test_what_another_puts_at_the_destination_meanwhile_is_not_replaced(tmp_path):
    destination = tmp_path / 'm'
    with pytest.raises(CheckpointError, match='exists already'), staged(destination, 0, None) as p:
        p.mkdir()
        destination.mkdir()
        (destination / 'thesis.txt').write_text('mine')
    assert (destination / 'thesis.txt').read_text() == 'mine'
    assert os.listdir(tmp_path) == ['m']


def test_what_a_killed_run_with_our_number_left_is_gone_on_with(tmp_path):
    """In a container each run may be process 7."""
    left = tmp_path / f'.m.part-{os.getpid()}'
    left.write_text('half')
    journal_of(left).write_text('noted')
    with staged(tmp_path / 'm', 0, None, lambda part: True) as part:
        assert part.read_text() == 'half' and journal_of(part).read_text() == 'noted'
        part.write_text('whole')
    assert (tmp_path / 'm').read_text() == 'whole'
    assert os.listdir(tmp_path) == ['m']


def test_an_earlier_result_that_a_kill_left_renamed_is_there_again(tmp_path):
    old = tmp_path / '.out.old-999999999'
    old.mkdir()
    (old / 'model').write_text('earlier')
    refused = pytest.raises(CheckpointError, match='out exists already')
    with refused, staged(tmp_path / 'out', 0, None):
        raise AssertionError('it was replaced without --overwrite')
    assert (tmp_path / 'out/model').read_text() == 'earlier' and not old.exists()


def test_an_index_that_says_nothing_of_itself_is_somebody_elses(tmp_path):
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'model.safetensors.index.json').write_text('{"metadata": null, "weight_map": []}')
    with pytest.raises(CheckpointError, match='was not written by a merge or a conversion'):
        _may_replace_folder(out)


def test_json_that_is_nested_beyond_reading_is_refused(tmp_path):
    (tmp_path / 'config.json').write_text('[' * 100_000)
    with pytest.raises(CheckpointError, match='config.json is not readable JSON'):
        read_config(tmp_path)
