"""The recipe fits together: a stage begins where the one before ends, on what make_data writes."""

import math

import pytest
from mmengine.config import Config

from mmllava.registry import MODELS
from projects.llava_tiny.tools import make_data, train
from tests.conftest import ROOT


@pytest.fixture(scope='module')
def stages():
    return [
        Config.fromfile(ROOT / f'projects/llava_tiny/configs/{stage}.py') for stage in train.STAGES
    ]


def test_a_stage_begins_with_the_last_checkpoint_of_the_one_before(stages):
    tower, align, talk = stages
    scenes, begins = make_data.parse_args([]).train, (s.model.init_cfg for s in (align, talk))
    (facts,) = align.train_dataloader.dataset.ann_file
    steps = (
        tower.train_cfg.max_epochs * math.ceil(scenes / tower.train_cfg.global_batch),
        math.ceil(facts.weight * scenes / align.train_cfg.global_batch),
    )
    for name, count, start in zip(train.STAGES, steps, begins, strict=False):
        assert start.checkpoint == f'work_dirs/{name}/iter_{count}'
    assert tower.model.get('init_cfg') is None and 'pretrained' not in tower.model.lang_encoder


def test_every_checkpoint_is_whole_and_the_models_are_one(stages):
    for config in stages:
        assert config.stage.train == ['tower', 'projector', 'language']
        assert 2 * config.train_dataloader.batch_size == config.train_cfg.global_batch
    names = [
        {n: p.shape for n, p in MODELS.build(c.model).named_parameters()}
        for c in (*stages, Config.fromfile(ROOT / 'configs/tiny/llava-tiny_chat.py'))
    ]
    assert all(found == names[0] for found in names)


@pytest.mark.slow
def test_make_data_writes_every_file_that_the_configs_read(tmp_path, capsys):
    args = [str(tmp_path), '--train', '16', '--test', '8', '--questions', '8']
    assert make_data.main(args) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith('{"folder"')
    files = [f'projects/llava_tiny/configs/{name}.py' for name in train.STAGES]
    files += [f'configs/tiny/llava-tiny_{task}.py' for task in ('caption', 'vqa')]
    texts = [Config.fromfile(ROOT / file).pretty_text for file in files]
    found = 0
    for file in tmp_path.rglob('*.json'):
        found += any(f'data/tiny/{file.name}' in t or f"'{file.name}'" in t for t in texts)
    assert found >= 5 and (tmp_path / 'tokenizer/tokenizer.model').is_file()


def test_make_data_refuses_a_set_that_is_too_small(tmp_path, capsys):
    assert make_data.main([str(tmp_path), '--train', '3']) == 2
    assert 'take 8 or more' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_new_colour_comes_in_every_second_scene(tmp_path):
    from projects.llava_tiny.build_dataset import write_images

    scenes = write_images(tmp_path, 'train', 8, 'brown')
    brown = [any(thing.color == 'brown' for thing in scene.things) for scene in scenes]
    assert brown == [False, True] * 4


def test_the_recipe_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(train, 'ROOT', tmp_path)
    monkeypatch.setattr(train, 'run', lambda *command: said.append(command))
    for folder in ('tower/iter_250', 'talk/iter_500', 'talk/iter_3000'):
        (tmp_path / f'work_dirs/llava-tiny_{folder}').mkdir(parents=True)
    log = tmp_path / 'work_dirs/llava-tiny_tower/2/vis_data/scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text('{"step": 10, "loss": 0.5, "slots": 7}\n')
    monkeypatch.setattr(train.shutil, 'rmtree', lambda folder: None)
    (tmp_path / train.RESULT).mkdir()  # as tools/convert.py would
    assert train.main() == 0
    data, tower, _, _, convert, plot = said
    kept = (tmp_path / train.RESULT / 'log.jsonl').read_text()
    assert kept == '{"stage": "llava-tiny_tower", "step": 10, "loss": 0.5}\n'
    assert plot[0] == 'tools/analysis_tools/plot_log.py' and 'work_dirs/llava-tiny_talk' in plot
    assert data[0] == 'projects/llava_tiny/tools/make_data.py' and tower[-1] == '--resume'
    assert convert[:2] == ('tools/convert.py', 'work_dirs/llava-tiny_talk/iter_3000')
