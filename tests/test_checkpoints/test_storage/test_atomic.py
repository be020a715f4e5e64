"""What is replaced is what a merge wrote, and there is never a moment without it."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from mmllava.checkpoints import prepare_merge, read_config, write_conversion
from mmllava.checkpoints.conversion.run import _may_replace_folder
from mmllava.checkpoints.storage import atomic, lock
from mmllava.checkpoints.storage.atomic import (
    atomic_output,
    check_destination,
    journal_of,
    leftovers,
    refuse_busy,
)
from mmllava.errors import CheckpointError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def prepared(pair):
    return prepare_merge(pair.base, pair.delta)


def test_a_merged_file_has_a_mark_that_torch_passes_over(pair, prepared):
    file = pair.root / 'm.pth'
    write_conversion(prepared, file)
    with zipfile.ZipFile(file) as archive:
        assert archive.read('archive/merged_by').startswith(b'mmllava ')
    assert len(torch.load(file, weights_only=True, mmap=True)) == 23
    write_conversion(prepared, file, overwrite=True)


def test_a_users_own_weights_are_not_overwritten(pair, prepared):
    file = pair.root / 'mine.pth'
    torch.save({'a': torch.ones(3)}, file)
    before = file.read_bytes()
    message = rf'mine.pth \({len(before):,} bytes\) was not written by a merge.* another name'
    with pytest.raises(CheckpointError, match=message):
        write_conversion(prepared, file, overwrite=True)
    # nor is a merge that was trained further and saved under its name
    write_conversion(prepared, pair.root / 'm.pth')
    torch.save(torch.load(pair.root / 'm.pth', weights_only=True), pair.root / 'm.pth')
    with pytest.raises(CheckpointError, match='was not written by a merge'):
        write_conversion(prepared, pair.root / 'm.pth', overwrite=True)
    assert file.read_bytes() == before


def put(destination, content, folder):
    """Writes a file, or a folder with one file, through ``atomic_output``."""
    with atomic_output(destination, 0, lambda _: None) as part:
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

    monkeypatch.setattr(atomic.os, 'rename', no_rename)
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

    monkeypatch.setattr(atomic.os, 'rename', interrupted)
    with pytest.raises(KeyboardInterrupt):
        put(tmp_path / 'm', 'new', True)
    assert text(tmp_path / 'm') == expected and os.listdir(tmp_path) == ['m']


@contextmanager
def at_work(destination):
    """A run that writes to the destination; gives its unfinished file."""
    with atomic_output(destination, 0, None) as part:
        part.write_text('half')
        yield part
        part.write_text('whole')


def test_what_killed_runs_left_is_named_where_the_disk_is_short(tmp_path, monkeypatch):
    names = ['.m.part-7', '.m.old-7', f'.m.part-{10**30}']
    kept = ['.m.part-x', '.m.part-8.journal', '.other.part-7']
    usage = shutil.disk_usage('/')
    with at_work(tmp_path / 'm') as part:
        for name in names + kept:
            (tmp_path / name).write_text('x')
        kept += [part.name, f'.m.lock-{part.name.rpartition("-")[2]}']
        monkeypatch.setattr(atomic.shutil, 'disk_usage', lambda _: usage._replace(free=5))
        with pytest.raises(CheckpointError, match='GB free but m needs') as caught:
            check_destination(tmp_path / 'm', 10**9, None)
        for name in names:
            assert f'left {tmp_path / name}, which may be deleted.' in str(caught.value)
        assert not any(f'{name},' in str(caught.value) for name in kept)
        assert sorted(os.listdir(tmp_path)) == sorted(names + kept)


# --- is the run over? ------------------------------------------------------------------


def test_what_a_run_at_work_writes_is_neither_gone_on_with_nor_replaced(tmp_path):
    with at_work(tmp_path / 'm') as part:
        assert leftovers(tmp_path / 'm') == []
        refused = pytest.raises(CheckpointError, match=r'part-\d+ belongs to a run that is still')
        with refused, atomic_output(tmp_path / 'm', 0, None, lambda part: True):
            raise AssertionError('it was taken from the run')
        with atomic_output(
            tmp_path / 'm', 0, lambda _: None
        ) as other:  # of the same process number
            assert other != part and not other.exists()
            other.write_text('other')
        assert part.read_text() == 'half'
        (tmp_path / 'm').unlink()
    assert (tmp_path / 'm').read_text() == 'whole' and os.listdir(tmp_path) == ['m']


def test_what_a_run_left_that_died_is_gone_on_with_at_once(tmp_path):
    script = (
        'import os, signal, sys\n'
        'from pathlib import Path\n'
        'from mmllava.checkpoints.storage.atomic import atomic_output\n'
        'with atomic_output(Path(sys.argv[1]), 0, None) as part:\n'
        '    part.write_text("half")\n'
        '    print(part, flush=True)\n'
        '    sys.stdin.readline()\n'
    )
    command = [sys.executable, '-c', script, str(tmp_path / 'm')]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        part = Path(process.stdout.readline().strip())
        assert leftovers(tmp_path / 'm') == []
        process.kill()
    assert leftovers(tmp_path / 'm') == [part] and part.read_text() == 'half'
    with atomic_output(tmp_path / 'm', 0, None, lambda found: found == part) as found:
        found.write_text('whole')
    assert (tmp_path / 'm').read_text() == 'whole' and os.listdir(tmp_path) == ['m']


@pytest.mark.parametrize('locked', [True, False], ids=['lock of a dead run', 'no lock'])
def test_a_number_that_a_living_process_has_proves_nothing(tmp_path, locked):
    """It was given again, or is that of a process in another container."""
    for number in (os.getpid(), os.getppid()):
        left = tmp_path / f'.m.part-{number}'
        left.write_text('half')
        journal_of(left).write_text('noted')
        if locked:
            (tmp_path / f'.m.lock-{number}').touch()
        with atomic_output(tmp_path / 'm', 0, lambda _: None, lambda part: True) as part:
            assert part.read_text() == 'half' and journal_of(part).read_text() == 'noted'
            part.write_text('whole')
        assert (tmp_path / 'm').read_text() == 'whole' and os.listdir(tmp_path) == ['m']


def test_of_two_unfinished_results_the_newest_is_gone_on_with(tmp_path):
    for number, time in ((7, 300), (8, 900), (9, 600)):
        (tmp_path / f'.m.part-{number}').write_text(str(number))
        os.utime(tmp_path / f'.m.part-{number}', (time, time))
    with atomic_output(tmp_path / 'm', 0, None, lambda part: True) as part:
        assert part.name == '.m.part-8'
    assert [path.name for path in leftovers(tmp_path / 'm')] == ['.m.part-9', '.m.part-7']


def test_what_is_there_already_needs_no_room_again(tmp_path, monkeypatch):
    (tmp_path / '.m.part-7').write_bytes(bytes(700))
    usage = shutil.disk_usage('/')._replace(free=300)
    monkeypatch.setattr(atomic.shutil, 'disk_usage', lambda _: usage)
    with atomic_output(tmp_path / 'm', 1000, None, lambda part: True) as part:
        assert part.name == '.m.part-7'
    (tmp_path / 'm').unlink()
    with (
        pytest.raises(CheckpointError, match='GB free but m needs'),
        atomic_output(tmp_path / 'm', 1000, None, lambda part: True),
    ):
        raise AssertionError('there is no room')


def test_a_new_run_keeps_what_a_killed_one_of_its_number_left(tmp_path):
    """In a container each run may be process 7."""
    left = tmp_path / f'.m.part-{os.getpid()}'
    left.write_text('half')
    put(tmp_path / 'm', 'new', False)
    assert text(tmp_path / 'm') == 'new' and leftovers(tmp_path / 'm') == [left]


def test_a_journal_without_its_part_is_not_gone_on_with_unasked(tmp_path):
    stray = journal_of(tmp_path / f'.m.part-{os.getpid()}')
    stray.write_text('half')
    with atomic_output(tmp_path / 'm', 0, None) as part:
        assert not journal_of(part).exists()
        part.write_text('new')
    assert stray.read_text() == 'half'


def test_a_disk_without_locks_is_written_to_and_nothing_is_taken_for_over(tmp_path, monkeypatch):
    def refuses(*_):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(fcntl, 'flock', refuses)
    with at_work(tmp_path / 'm') as part:
        assert leftovers(tmp_path / 'm') == []
        number = part.name.rpartition('-')[2]
        said = rf'if you know that there is no such run, delete \.m\.lock-{number} beside it'
        with pytest.raises(CheckpointError, match=said):
            refuse_busy(tmp_path / 'm')
        assert part.read_text() == 'half' and lock.take(tmp_path / f'.m.lock-{number}') is None
        (tmp_path / f'.m.lock-{number}').unlink()
        assert leftovers(tmp_path / 'm') == [part]
        handle = lock.take(tmp_path / f'.m.lock-{number}')
        os.close(handle)
    assert (tmp_path / 'm').read_text() == 'whole' and os.listdir(tmp_path) == ['m']


def test_a_system_without_locks_writes_too(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, 'fcntl', None)
    put(tmp_path / 'm', 'new', False)
    assert text(tmp_path / 'm') == 'new' and os.listdir(tmp_path) == ['m']


def test_who_asks_whether_a_lock_is_free_keeps_nobody_from_asking_or_taking_it(tmp_path):
    file = tmp_path / 'lock'
    os.close(lock.make(file))
    asking = os.open(file, os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)
    assert lock.is_free(file) and lock.take(file) is None
    os.close(asking)
    handle = lock.take(file)
    assert handle is not None and not lock.is_free(file)
    os.close(handle)


def test_a_lock_that_was_deleted_before_it_was_locked_is_not_made(tmp_path, monkeypatch):
    """A sweep may take the new file for that of a dead run, in the moment before it is locked."""
    file, flock = tmp_path / 'lock', fcntl.flock
    monkeypatch.setattr(fcntl, 'flock', lambda *a: (file.unlink(missing_ok=True), flock(*a)))
    with pytest.raises(FileExistsError):
        lock.make(file)


def test_a_lock_whose_file_was_deleted_meanwhile_is_not_had(tmp_path, monkeypatch):
    """Its owner deletes the file and lets go of it while another waits to open it."""
    file = tmp_path / 'lock'
    opens = os.open

    def late(path, *rest):
        handle = opens(path, *rest)
        file.unlink()
        return handle

    assert lock.is_free(file)
    monkeypatch.setattr(os, 'open', late)
    assert lock.take(file) is None


def test_what_another_puts_at_the_destination_meanwhile_is_not_replaced(tmp_path):
    destination = tmp_path / 'm'
    with (
        pytest.raises(CheckpointError, match='exists already'),
        atomic_output(destination, 0, None) as p,
    ):
        p.mkdir()
        destination.mkdir()
        (destination / 'thesis.txt').write_text('mine')
    assert (destination / 'thesis.txt').read_text() == 'mine'
    assert os.listdir(tmp_path) == ['m']


@pytest.mark.parametrize('number', [999999999, os.getppid()])
def test_an_earlier_result_that_a_kill_left_renamed_is_there_again(tmp_path, number):
    old = tmp_path / f'.out.old-{number}'
    old.mkdir()
    (old / 'model').write_text('earlier')
    refused = pytest.raises(CheckpointError, match='out exists already')
    with refused, atomic_output(tmp_path / 'out', 0, None):
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
