"""Adds one step to the build: the files that mim looks for; the rest is in pyproject.toml.

`mim` reads ``configs/``, ``tools/`` and ``model-index.yml`` from ``mmllava/.mim``. They are
copied there while a wheel is built, never into the source tree; an editable install has no
``.mim``, and the code falls back to the repository.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
MIM = ('configs', 'tools', 'model-index.yml')


class BuildWithMim(build_py):
    """Copies the files of ``MIM`` next to the built modules."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / 'mmllava/.mim'
        shutil.rmtree(target, ignore_errors=True)  # an older build may hold deleted files
        target.mkdir(parents=True)
        skip = shutil.ignore_patterns('__pycache__', '*.pyc')
        for name in MIM:
            source = ROOT / name
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            copy(source, target / name, **(dict(ignore=skip) if source.is_dir() else {}))


setup(cmdclass={'build_py': BuildWithMim})
