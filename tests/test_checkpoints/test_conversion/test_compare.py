"""Two checkpoints: how far they are from each other, counted by hand."""

import shutil

import pytest
from safetensors.torch import load_file, save_file

from mmllava.checkpoints import compare
from tests.test_checkpoints.conftest import GOLDEN

V15 = GOLDEN / 'llava-v1.5'


def test_differences_are_the_largest_and_the_mean_of_all_values(tmp_path):
    other = shutil.copytree(V15, tmp_path / 'other')
    file = sorted(other.glob('*.safetensors'))[0]
    tensors = load_file(file)
    name = sorted(n for n in tensors if n.endswith('q_proj.weight'))[0]
    tensors[name][0, 0] += 3
    tensors[name][1, 1] -= 1
    save_file(tensors, file, metadata={'format': 'pt'})
    found = compare(V15, other)
    count = sum(t.numel() for f in V15.glob('*.safetensors') for t in load_file(f).values())
    assert (found.different, found.first_different) == (1, name)
    assert found.max_difference == pytest.approx(3, abs=1e-6)
    assert found.mean_difference == pytest.approx(4 / count, rel=1e-6)
