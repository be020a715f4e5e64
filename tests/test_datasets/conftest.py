"""Small training files, made here, over the recorded images."""

import json

import pytest

from tests.conftest import MODELS

PIPELINE = [
    dict(type='mmllava.LoadImage'),
    dict(type='mmllava.CLIPResize', size=56, aspect='pad'),
    dict(type='mmpretrain.PackInputs', algorithm_keys=['conversations']),
]


def talk(question, answer='Yes.'):
    return [{'from': 'human', 'value': question}, {'from': 'gpt', 'value': answer}]


@pytest.fixture
def write(tmp_path):
    """Writes rows as a training file and gives its path."""

    def write(rows, name='train.json'):
        file = tmp_path / name
        file.write_text(json.dumps(rows), encoding='utf-8')
        return str(file)

    return write


@pytest.fixture
def build():
    """Builds an InstructDataset by config, over the recorded images."""
    from mmllava.registry import DATASETS

    def build(ann_file, **settings):
        config = dict(img_root=str(MODELS), pipeline=PIPELINE)
        config.update(type='mmllava.InstructDataset', ann_file=ann_file)
        return DATASETS.build({**config, **settings})

    return build
