"""Killed anywhere and resumed, the result is the undisturbed one; a full disk changes nothing."""

import errno
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mmllava.checkpoints import (
    check_write,
    prepare_conversion,
    read_manifest,
    verify,
    write_conversion,
)
from mmllava.checkpoints.conversion import stream
from mmllava.checkpoints.conversion.journal import plan_sum
from mmllava.checkpoints.conversion.run import find_leftover
from mmllava.checkpoints.storage import atomic
from mmllava.checkpoints.storage.atomic import journal_of
from mmllava.errors import CheckpointError
from tests.test_checkpoints.conftest import GOLDEN

ROOT = Path(__file__).parents[3]
V15, CLIP = GOLDEN / 'llava-v1.5', GOLDEN / 'clip-tiny'
VALUES = 500  # of a piece here: some 370 pieces
# Converts, and dies like a process that the system kills at the given piece.
CHILD = f"""
import os, signal, sys
from mmllava.checkpoints import prepare_conversion, write_conversion
from mmllava.checkpoints.conversion import stream
out, to, at = sys.argv[1], sys.argv[2], int(sys.argv[3])
stream.PIECE_VALUES = {VALUES}
seen = []
def progress(nbytes):
    seen.append(nbytes)
    if len(seen) == at:
        os.kill(os.getpid(), signal.SIGKILL)
conversion = prepare_conversion({str(V15)!r}, to, tower={str(CLIP)!r})
write_conversion(conversion, out, progress=progress, shard_bytes=200_000)
"""


def killed(out, to, at):
    """Runs a conversion that is killed at a piece; gives what it left."""
    command = [sys.executable, '-c', CHILD, str(out), to, str(at)]
    done = subprocess.run(command, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert done.returncode == -9
    assert not out.exists()
    return find_leftover(out)


def resumed(out, to, monkeypatch):
    """Goes on; gives the manifest and how many pieces were computed."""
    count = []
    compute = stream._compute
    monkeypatch.setattr(stream, '_compute', lambda *a: count.append(1) or compute(*a))
    monkeypatch.setattr(stream, 'PIECE_VALUES', VALUES)
    manifest = write_conversion(
        prepare_conversion(V15, to, tower=CLIP), out, shard_bytes=200_000, resume=True
    )
    monkeypatch.undo()
    return manifest, len(count)


def bytes_of(path):
    files = [path] if path.is_file() else sorted(path.iterdir())
    return {f.name.replace(path.name, ''): f.read_bytes() for f in files}


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
    """layout -> (result, pieces)."""
    root, made = tmp_path_factory.mktemp('undisturbed'), {}
    for to, name in (('hf', 'out'), ('mmllava', 'out.pth')):
        conversion = prepare_conversion(V15, to, tower=CLIP)
        write_conversion(conversion, root / name, shard_bytes=200_000)
        made[to] = root / name
    return made


def check(tmp_path, monkeypatch, undisturbed, to, at):
    out = tmp_path / undisturbed[to].name
    left = killed(out, to, at)
    assert left and journal_of(left).exists()
    manifest, computed = resumed(out, to, monkeypatch)
    assert manifest == read_manifest(undisturbed[to])
    assert bytes_of(out) == bytes_of(undisturbed[to])
    assert os.listdir(tmp_path) == [out.name]
    verify(out)
    return computed


@pytest.mark.parametrize('to', ['hf', 'mmllava'])
def test_a_killed_conversion_goes_on_where_it_was(tmp_path, monkeypatch, undisturbed, to):
    (tmp_path / 'a').mkdir()
    whole = check(tmp_path / 'a', monkeypatch, undisturbed, to, 1)
    (tmp_path / 'b').mkdir()
    late = check(tmp_path / 'b', monkeypatch, undisturbed, to, whole - 20)
    assert late < 60 < whole


@pytest.mark.slow
@pytest.mark.parametrize('to', ['hf', 'mmllava'])
def test_killed_at_twenty_random_points_the_manifest_is_the_same(
    tmp_path, monkeypatch, undisturbed, to
):
    points = random.Random(5).sample(range(1, 420), 20)
    for at in points:
        folder = tmp_path / str(at)
        folder.mkdir()
        check(folder, monkeypatch, undisturbed, to, at)
        shutil.rmtree(folder)


@pytest.mark.parametrize('to', ['hf', 'mmllava'])
def test_what_was_damaged_meanwhile_is_written_again(tmp_path, monkeypatch, undisturbed, to):
    out = tmp_path / undisturbed[to].name
    left = killed(out, to, 200)
    files = [left] if left.is_file() else sorted(left.glob('*.safetensors'))
    data = bytearray(files[0].read_bytes())
    data[len(data) // 2] ^= 255
    files[0].write_bytes(data)
    journal_of(left).write_text(journal_of(left).read_text() + '"cut sho')
    manifest, _ = resumed(out, to, monkeypatch)
    assert manifest == read_manifest(undisturbed[to])
    assert bytes_of(out) == bytes_of(undisturbed[to])


def test_what_another_plan_left_is_not_gone_on_with(tmp_path, monkeypatch, undisturbed):
    out = tmp_path / 'out'
    left = killed(out, 'hf', 100)
    conversion = prepare_conversion(V15, 'mmllava', tower=CLIP)
    write_conversion(conversion, out, resume=True, shard_bytes=200_000)
    assert left.exists() and verify(out)['tensors'] == 80
    source = shutil.copytree(V15, tmp_path / 'source')
    other = prepare_conversion(source, 'hf', tower=CLIP)  # the same bytes in other files
    write_conversion(other, tmp_path / 'other', resume=True, shard_bytes=200_000)
    assert left.exists()


def test_the_tool_names_what_a_killed_run_left(tmp_path):
    out = tmp_path / 'out'
    left = killed(out, 'hf', 100)
    command = [sys.executable, ROOT / 'tools/convert.py', V15, '--to', 'hf', '--tower', CLIP]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(
        [*map(str, command), '--out', str(out)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert f'a run that was killed left {left}. Add --resume' in done.stdout


def test_a_source_that_was_written_again_makes_another_plan(tmp_path):
    """Its size and tensors may be the same, and its values others."""
    source = shutil.copytree(V15, tmp_path / 'source')
    moves = prepare_conversion(source, 'mmllava').kept
    plan = plan_sum(moves, {})
    assert plan_sum(prepare_conversion(source, 'mmllava').kept, {}) == plan
    assert plan_sum(moves, dict(file=True)) != plan
    (file, *_) = source.glob('*.safetensors')
    os.utime(file, ns=(7, 7))
    assert plan_sum(moves, {}) != plan


# --- full disks ------------------------------------------------------------------------


@pytest.mark.parametrize('name', ['out', 'out.pth'])
def test_a_full_disk_leaves_an_earlier_result_as_it_was(small_disk, monkeypatch, name):
    out = small_disk / name
    usage = shutil.disk_usage('/')._replace(free=10**12)  # as if it had had room at the start
    monkeypatch.setattr(atomic.shutil, 'disk_usage', lambda _: usage)
    small = prepare_conversion(V15, 'mmllava', dtype='float16')  # 0.3 MB
    write_conversion(small, out)
    before = bytes_of(out)
    sources = bytes_of(V15)
    large = prepare_conversion(V15, 'mmllava', tower=CLIP)
    with pytest.raises(OSError, match='No space left'):
        write_conversion(large, out, overwrite=True)
    assert bytes_of(out) == before and os.listdir(small_disk) == [name]
    assert bytes_of(V15) == sources


@pytest.mark.parametrize('name', ['out', 'out.pth'])
def test_a_quota_leaves_nothing_behind(tmp_path, name):
    """A limit on the size of files, which every system has; the signal of it is ignored."""
    script = (
        'import resource, signal, sys\n'
        'from mmllava.checkpoints import prepare_conversion, write_conversion\n'
        'signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n'
        'resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))\n'
        f'conversion = prepare_conversion({str(V15)!r}, "mmllava")\n'
        'try:\n'
        '    write_conversion(conversion, sys.argv[1])\n'
        'except OSError as error:\n'
        '    sys.exit(error.errno)\n'
    )
    command = [sys.executable, '-c', script, str(tmp_path / name)]
    done = subprocess.run(command, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert done.returncode == errno.EFBIG
    assert os.listdir(tmp_path) == []


def test_too_small_a_disk_is_told_first(tmp_path, monkeypatch):
    usage = shutil.disk_usage('/')._replace(free=5_000_000)
    monkeypatch.setattr(atomic.shutil, 'disk_usage', lambda _: usage)
    with pytest.raises(CheckpointError, match=r'has 0.01 GB free but out needs 0.02 GB'):
        check_write(prepare_conversion(V15, 'mmllava'), tmp_path / 'out')


# --- destinations ----------------------------------------------------------------------


def test_a_destination_must_suit_the_layout(tmp_path):
    conversion = prepare_conversion(V15, 'hf', tower=CLIP)
    with pytest.raises(CheckpointError, match=r"transformers' layout is a folder"):
        write_conversion(conversion, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=r'mmpretrain reads one file'):
        write_conversion(prepare_conversion(V15, 'mmpretrain'), tmp_path / 'x')
    with pytest.raises(CheckpointError, match=r'ends in .bin; a destination is a file'):
        write_conversion(prepare_conversion(V15, 'mmllava'), tmp_path / 'x.bin')
    copy = shutil.copytree(V15, tmp_path / 'v15')
    with pytest.raises(CheckpointError, match=r'is where the sources lie'):
        write_conversion(prepare_conversion(copy, 'mmllava'), copy, overwrite=True)
    assert os.listdir(tmp_path) == ['v15']


@pytest.mark.parametrize(('to', 'tower'), [('hf', CLIP), ('projector', None), ('mmllava', None)])
def test_an_earlier_result_is_replaced_and_a_users_files_are_not(tmp_path, to, tower):
    out = tmp_path / 'out'
    conversion = prepare_conversion(V15, to, tower=tower)
    write_conversion(conversion, out)
    with pytest.raises(CheckpointError, match=r'out exists already.*--overwrite'):
        write_conversion(conversion, out)
    write_conversion(conversion, out, overwrite=True)
    (out / 'thesis.tex').write_text('x')
    with pytest.raises(CheckpointError, match=r'holds thesis.tex, which no merge wrote'):
        write_conversion(conversion, out, overwrite=True)
    assert json.loads((out / 'config.json').read_text())


@pytest.mark.parametrize('how', ['written', 'written and dated back', 'replaced', 'deleted'])
def test_a_source_that_changes_meanwhile_is_refused_and_nothing_is_kept(tmp_path, how):
    source = Path(shutil.copytree(V15, tmp_path / 'source'))
    shard = sorted(source.glob('*.safetensors'))[-1]

    def change(_):
        state = shard.stat()
        if how == 'replaced':
            shutil.copy(shard, tmp_path / 'new')
            os.replace(tmp_path / 'new', shard)
        elif how == 'deleted':
            shard.rename(tmp_path / 'away')
        else:
            with open(shard, 'r+b') as file:
                file.seek(-4, os.SEEK_END)
                file.write(b'abcd')
        if how.endswith('back'):
            os.utime(shard, ns=(state.st_atime_ns, state.st_mtime_ns))

    conversion = prepare_conversion(source, 'hf', tower=CLIP)
    with pytest.raises((CheckpointError, FileNotFoundError)) as caught:
        write_conversion(conversion, tmp_path / 'out', progress=change)
    assert 'changed while it was converted' in str(caught.value) or how == 'deleted'
    assert not (tmp_path / 'out').exists()
