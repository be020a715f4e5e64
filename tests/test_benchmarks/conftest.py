"""Small files in the real formats, made by the script that a user has too."""

import json
import shutil

import pytest

from tools.dev import make_benchmark_samples as benchmark_samples


@pytest.fixture(scope='session')
def made(tmp_path_factory):
    """A folder with the files of every set."""
    folder = tmp_path_factory.mktemp('samples')
    assert benchmark_samples.main([str(folder)]) == 0
    return folder


@pytest.fixture
def copied(made, tmp_path):
    """Copies the files of one set, to be spoiled."""

    def copied(name):
        return shutil.copytree(made / name, tmp_path / name)

    return copied


@pytest.fixture
def spoil():
    """Changes a JSON file in place."""

    def spoil(file, change):
        content = json.loads(file.read_text())
        changed = change(content)
        file.write_text(json.dumps(content if changed is None else changed))
        return file

    return spoil
