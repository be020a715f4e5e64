"""The recorded base and delta, and ways to change a copy of them."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from mmllava.checkpoints import (
    compare,
    map_tensor,
    prepare_conversion,
    prepare_merge,
    read_entries,
    write_conversion,
)
from mmllava.checkpoints.conversion.verify import verify_conversion
from mmllava.errors import CheckpointError

GOLDEN = Path(__file__).parents[1] / 'golden/models'
#: name -> SHA-256, of the recorded merge.
EXPECTED = json.loads((GOLDEN / 'expected.json').read_text())['merged_sha256']


class Pair:
    """A copy of the recorded base and delta that a test may spoil."""

    def __init__(self, root):
        self.root = root
        self.base = shutil.copytree(GOLDEN / 'llama-base', root / 'base')
        self.delta = shutil.copytree(GOLDEN / 'llava-v1-delta', root / 'delta')
        self.tower = GOLDEN / 'clip-tiny'

    def tensors(self, folder):
        """Every tensor of a folder's shards, read by torch."""
        found = {}
        for file in sorted(folder.glob('*.bin')):
            found.update(torch.load(file, weights_only=True))
        return found

    def replace(self, folder, tensors):
        """Makes one file of these tensors the folder's only weights."""
        for file in folder.glob('pytorch_model*'):
            file.unlink()
        torch.save(tensors, folder / 'pytorch_model.bin')

    def set_config(self, folder, **changes):
        file = folder / 'config.json'
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    def listing(self):
        """Every path below the root with its size: what must not change on an error."""
        return {p: p.stat().st_size for p in self.root.rglob('*') if p.is_file()} | {
            p: None for p in self.root.rglob('*') if p.is_dir()
        }


@pytest.fixture
def pair(tmp_path):
    return Pair(tmp_path)


def merge(pair, destination, tower=None, overwrite=False, **options):
    prepared = prepare_merge(pair.base, pair.delta, tower)
    write_conversion(prepared, pair.root / destination, overwrite, **options)
    return pair.root / destination


def refused(pair, message, destination='merged', **options):
    """Merges, expects the message, and sees that the disk is as it was."""
    before = pair.listing()
    with pytest.raises(CheckpointError, match=message) as caught:
        merge(pair, destination, **options)
    assert pair.listing() == before
    return str(caught.value)


def sums(path):
    entries = read_entries(path)
    return {n: hashlib.sha256(map_tensor(e).tobytes()).hexdigest() for n, e in entries.items()}


@pytest.fixture
def small_disk(tmp_path_factory):
    """A file system of 400 kB, mounted for the test."""
    mount = tmp_path_factory.mktemp('small')
    command = ['mount', '-t', 'tmpfs', '-o', 'size=400k', 'tmpfs', str(mount)]
    try:
        done = subprocess.run(command, capture_output=True)
    except FileNotFoundError:
        pytest.skip('there is no mount command')
    if done.returncode:
        pytest.skip('mounting a file system is not allowed here')
    yield mount
    subprocess.run(['umount', str(mount)], check=True)


def convert(source, to, out, base=None, tower=None, dtype=None, **options):
    """Converts and proves the result."""
    conversion = prepare_conversion(source, to, base, tower, dtype)
    write_conversion(conversion, out, **options)
    verify_conversion(conversion, out)
    return out


def equal(first, second, base=None, but=frozenset()):
    """Asserts that two checkpoints have the same tensors, bit for bit, but those named."""
    found = compare(first, second, base=base)
    assert found.equal and not (found.different or found.up_to_dtype), found
    assert {*found.only_first, *found.only_second} == set(but), found


@pytest.fixture(scope='session')
def whole(tmp_path_factory):
    """version -> a whole model in the original layout, with its tower."""
    root, clip = tmp_path_factory.mktemp('whole'), GOLDEN / 'clip-tiny'
    return {
        'v1': convert(
            GOLDEN / 'llava-v1-delta', 'original', root / 'v1', GOLDEN / 'llama-base', clip
        ),
        'v1.5': convert(GOLDEN / 'llava-v1.5', 'original', root / 'v1.5', tower=clip),
        'v1.6': convert(GOLDEN / 'llava-v1.6', 'original', root / 'v1.6', tower=clip),
    }
