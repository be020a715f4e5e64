"""Any benchmark's config with any model: by name, by config, or by what a folder says."""

from pathlib import Path

import pytest
from mmengine.config import Config

from mmllava.errors import CheckpointError, ConfigError
from mmllava.evaluation.benchmark_config import add_model, is_benchmark, name_run
from tests.conftest import MODELS, ROOT, tiny_config

SCIENCEQA = ROOT / 'configs/benchmarks/scienceqa.py'


def combined(model, checkpoint='x.pth', preset=None):
    cfg = Config.fromfile(SCIENCEQA)
    if preset:
        cfg.test_dataloader.dataset.preset = preset
    add_model(cfg, model, checkpoint)
    return cfg


def resize(cfg):
    return cfg.test_dataloader.dataset.pipeline[1]


def test_a_model_by_name_brings_its_pictures_and_the_preset_its_decoding():
    cfg = combined('llava-7b-v1.5')
    assert cfg.model.lang_encoder.hidden_size == 4096
    assert (resize(cfg)['size'], resize(cfg)['aspect']) == (336, 'pad')
    assert (cfg.model.task, cfg.model.preset) == ('vqa', 'vqa_open')
    assert cfg.model.generation_cfg == dict(do_sample=False, num_beams=1, max_new_tokens=1024)
    other = combined('llava-13b-v1.6-vicuna_caption')
    assert resize(other)['image_grid_pinpoints'] == other.model.image_grid_pinpoints


def test_a_preset_leaves_the_pictures_as_the_checkpoint_has_them():
    # lmms-eval takes a task's image_aspect_ratio only where the checkpoint states none
    assert resize(combined('llava-7b-v1.5', preset='lmms-eval'))['aspect'] == 'pad'
    assert resize(combined('llava-7b-v1.6-vicuna', preset='lmms-eval'))['aspect'] == 'anyres'


def test_a_model_by_its_config_file(tmp_path):
    file = tmp_path / 'mine.py'
    tiny_config('v1.5', preset='vqa_short').dump(file)
    cfg = combined(str(file))
    assert (cfg.model.preset, resize(cfg)['size']) == ('vqa_open', 56)


def test_a_folder_says_itself_what_it_is():
    cfg = Config.fromfile(SCIENCEQA)
    add_model(cfg, None, str(MODELS / 'llava-v1.6'), str(MODELS / 'clip-tiny'))
    assert (cfg.model.template, resize(cfg)['aspect']) == ('vicuna_v1', 'anyres')


def test_what_cannot_be_combined_is_answered():
    with pytest.raises(ConfigError, match="unknown model 'llava-7b-v15'. Did you mean llava-7b-v1"):
        combined('llava-7b-v15')
    with pytest.raises(ConfigError, match='no config file at gone.py'):
        combined('gone.py')
    with pytest.raises(CheckpointError, match='Name the model: --model llava-7b-v1.5'):
        combined(None, str(MODELS / 'expected.json'))
    with pytest.raises(ConfigError, match='no model with a CLIPResize'):
        combined(str(SCIENCEQA))
    with pytest.raises(ConfigError, match='--tower and --model exclude each other'):
        add_model(Config.fromfile(SCIENCEQA), 'llava-7b-v1.5', 'x.pth', 'clip')
    cfg = Config.fromfile(ROOT / 'configs/llava/llava-7b-v1.5_vqa.py')
    assert not is_benchmark(cfg)
    with pytest.raises(ConfigError, match='--model and --tower need a config of'):
        add_model(cfg, 'llava-7b-v1.5', 'x.pth')


def test_results_are_called_after_the_model():
    assert name_run('llava-7b-v1.5', 'x.pth') == 'llava-7b-v1.5'
    assert name_run('configs/mine.py', 'x.pth') == 'mine'
    assert name_run(None, 'weights/llava-v1.5-7b') == 'llava-v1.5-7b'
    assert name_run(None, '.') == Path.cwd().name
    assert name_run(None, 'work_dirs/mine/iter_20') == 'mine_iter_20'
    assert name_run(None, 'llava-lora/checkpoint-5') == 'llava-lora_checkpoint-5'
    assert name_run(None, 'weights/\udcff') == '?'
