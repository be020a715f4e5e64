"""make demo, as a newcomer runs it: true sentences, two images, in seconds."""

import os
import subprocess
import sys

import pytest
from PIL import Image

from tests.conftest import ROOT


@pytest.mark.slow
def test_the_demo_says_what_is_in_the_picture_and_draws_the_sheet():
    done = subprocess.run(
        [sys.executable, 'demo/demo.py'],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k != 'PYTHONPATH'},  # as make demo
        capture_output=True,
        text=True,
        check=True,
    )
    assert 'an orange cat and a yellow dog' in done.stdout.lower()
    assert 'What color is the cat?' in done.stdout
    for name, width in (('cat-dog.png', 448), ('sheet.png', 920)):
        with Image.open(ROOT / 'demo/out' / name) as picture:
            assert picture.width == width


def test_the_sheet_of_the_readme_is_as_large_as_the_demos():
    with Image.open(ROOT / 'demo/sheet.png') as sheet:
        assert sheet.width == 920 and sheet.height > 3 * 224
