"""The recorded base and delta, and ways to change a copy of them."""

import json
import shutil
from pathlib import Path

import pytest
import torch

GOLDEN = Path(__file__).parents[1] / 'golden/models'


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
