"""A caption set of our own in COCO's format, and a config that scores a recorded model on it."""

import json
import shutil

import pytest

from tests.conftest import MODELS, ROOT

COUNT = 7  # by 2 with a rest


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """The recorded images as a COCO-format set of our own."""
    folder = tmp_path_factory.mktemp('coco')
    shutil.copytree(MODELS / 'images', folder / 'images')
    shutil.copy(folder / 'images/0.png', folder / 'images/6.png')
    samples = [dict(image=f'images/{k}.png', caption=['a cat']) for k in range(COUNT)]
    (folder / 'val.json').write_text(json.dumps(samples))
    notes = [
        dict(id=10 * k + j, image_id=k, caption=caption)
        for k in range(COUNT)
        for j, caption in enumerate(('a cat on a mat', f'variety suitcase {k}', 'be horse wall'))
    ]
    truth = dict(images=[dict(id=k) for k in range(COUNT)], annotations=notes)
    (folder / 'truth.json').write_text(json.dumps(truth))
    return folder


@pytest.fixture
def config(data, tmp_path):
    file = tmp_path / 'config.py'
    file.write_text(
        f"""
_base_ = ['{ROOT}/demo/llava-random_caption.py']
test_dataloader = dict(batch_size=2, dataset=dict(data_root='{data}', ann_file='val.json'))
test_evaluator = dict(ann_file='{data}/truth.json')
"""
    )
    return file
