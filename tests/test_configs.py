"""Every config is read, builds, and says what it is."""

import ast
import re

import pytest
import yaml
from mmengine.config import Config

from mmllava.registry import DATASETS, METRICS, MODELS, TRANSFORMS
from tests.conftest import ROOT

#: Every model is asked in three ways.
TASKS = ('caption', 'vqa', 'chat')
FOLDERS = ('llava', 'tiny')
LEAVES = sorted(
    file for f in FOLDERS for t in TASKS for file in (ROOT / 'configs' / f).glob(f'*_{t}.py')
)
NAMED = [
    model
    for folder in FOLDERS
    for model in yaml.safe_load((ROOT / f'configs/{folder}/metafile.yml').read_text())['Models']
]


def name_of(file):
    return file.relative_to(ROOT).as_posix()


def test_no_config_is_left_out():
    listed = {model['Config'] for model in NAMED}
    assert listed == {name_of(file) for file in LEAVES}
    assert set((ROOT / 'configs/llava').glob('*.py')) <= set(LEAVES)
    for model in NAMED:
        table = (ROOT / model['Config']).with_name('README.md').read_text()
        assert f'`{model["Name"].rsplit("_", 1)[0]}`' in table


def test_every_model_has_its_three_configs():
    names = {file.stem.rsplit('_', 1)[0] for file in LEAVES}
    assert len(names) == 13
    assert {file.stem for file in LEAVES} == {f'{n}_{task}' for n in names for task in TASKS}


@pytest.mark.parametrize('file', LEAVES, ids=lambda f: f.stem)
def test_a_leaf_is_short_and_opens_with_weights_memory_and_command(file):
    text = file.read_text()
    docstring = ast.get_docstring(ast.parse(text))
    assert text.split('"""')[2].count('\n') <= 12
    for word in ('Weights:', 'Memory:', f'Run:     python tools/test.py {name_of(file)}'):
        assert word in docstring


def nulls(value, key=''):
    """Yields the keys that have no value."""
    if isinstance(value, (dict, list)):
        for name, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from nulls(one, f'{key}.{name}')
    elif value is None:
        yield key


@pytest.mark.parametrize('folder', FOLDERS)
def test_a_metafile_lists_no_empty_field(folder):
    assert not list(nulls(yaml.safe_load((ROOT / f'configs/{folder}/metafile.yml').read_text())))


@pytest.mark.parametrize('model', NAMED, ids=lambda m: m['Name'])
def test_a_leaf_whose_score_was_measured_says_where_it_is(model):
    measured = any(result['Metrics'] for result in model['Results'])
    said = re.search(r'Score: +(\S+)\.$', (ROOT / model['Config']).read_text(), re.M)
    assert said or not measured
    assert not said or (ROOT / said[1]).is_file()


@pytest.mark.parametrize('model', NAMED, ids=lambda m: m['Name'])
def test_a_config_builds_with_the_metafiles_parameters(model):
    config = Config.fromfile(ROOT / model['Config'])
    built = MODELS.build(config.model)
    assert sum(p.numel() for p in built.parameters()) == model['Metadata']['Parameters']
    assert all(p.is_meta for p in built.parameters())


@pytest.mark.parametrize('file', LEAVES, ids=lambda f: f.stem)
def test_the_parts_of_a_config_fit_each_other(file):
    config = Config.fromfile(file)
    tower = config.model.vision_encoder
    steps = {step.type.split('.')[-1]: step for step in config.test_dataloader.dataset.pipeline}
    resize, pinpoints = steps['CLIPResize'], config.model.get('image_grid_pinpoints')
    assert list(steps) == ['LoadImage', 'CLIPResize', 'PackInputs']
    assert resize == config.resize
    assert resize.size == tower.image_size
    assert resize.get('image_grid_pinpoints') == pinpoints
    padded = 'v1.5' in file.stem or 'tiny' in file.stem
    wanted = 'anyres' if pinpoints else 'pad' if padded else 'square'
    assert resize.aspect == wanted
    assert {'ori_shape', 'error'} <= set(steps['PackInputs'].meta_keys)
    has_tower = bool(pinpoints) or 'tiny' in file.stem  # the checkpoint
    assert has_tower != bool(tower.get('pretrained'))
    for step in config.test_dataloader.dataset.pipeline:
        TRANSFORMS.build(step)
    assert DATASETS.get(config.test_dataloader.dataset.type)
    assert METRICS.get(config.test_evaluator.type)
