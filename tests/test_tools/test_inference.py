"""tools/inference.py, as a user types it."""

import json
import shutil

import pytest
from PIL import Image

from mmllava.apis.load import WEIGHTS
from tests.conftest import MODELS, ROOT
from tools import inference

CONFIG = str(ROOT / 'demo/llava-random_caption.py')


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / 'photos'
    shutil.copytree(MODELS / 'images', folder)
    return folder


def run(*args):
    return inference.main([str(a) for a in args])


def test_a_folder_of_pictures_is_captioned_written_and_drawn(merged, photos, tmp_path, capsys):
    out, shown = tmp_path / 'out.json', tmp_path / 'drawn'
    args = ('--batch-size', 4, '--out', out, '--show-dir', shown, '--device', 'cpu')
    assert run(CONFIG, merged, photos, *args) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    records = json.loads(out.read_text())
    assert printed == records and len(records) == 6
    assert all(record['pred_caption'] for record in records)
    assert sorted(f.name for f in shown.iterdir()) == [f'{k}.png' for k in range(6)]
    assert Image.open(shown / '0.png').height > Image.open(photos / '0.png').height


def test_one_bad_picture_is_named_counted_and_the_others_are_done(merged, photos, capsys):
    (photos / '3.png').write_bytes((photos / '3.png').read_bytes()[:100])
    assert run(CONFIG, merged, photos, '--device', 'cpu', '--batch-size', 2) == 2
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 5
    assert '3.png could not be decoded' in said.err and '1 of 6 images failed' in said.err


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (
            ('llava-7b-v2_caption', 'x', 'p.png'),
            "unknown model 'llava-7b-v2_caption'. Did you mean",
        ),
        (('nowhere.py', 'x', 'p.png'), 'no config file at nowhere.py'),
        ((CONFIG, './gone', 'p.png', '--device', 'cpu'), 'gone does not exist'),
        ((CONFIG, 'gone.pth', 'p.png', '--device', 'cpu'), 'gone.pth does not exist'),
        ((CONFIG, 'x', 'p.png', '--batch-size', '0'), '--batch-size is 0, expected 1 or more'),
        ((CONFIG, 'x', 'p.png', '--dtype', 'half'), "unknown dtype 'half'"),
    ],
)
def test_bad_input_exits_with_2_and_says_why(args, message, capsys):
    assert run(*args) == 2
    assert message in capsys.readouterr().err


def test_a_gpu_that_is_not_there_exits_with_2(merged, photos, capsys):
    import torch

    if torch.cuda.is_available():
        pytest.skip('this machine has CUDA')
    assert run(CONFIG, merged, photos, '--device', 'cuda') == 2
    assert "device 'cuda' was asked for" in capsys.readouterr().err


def test_a_vqa_model_needs_a_question(tmp_path, merged, photos, capsys):
    config = tmp_path / 'vqa.py'
    config.write_text(f"_base_ = ['{CONFIG}']\nmodel = dict(task='vqa', preset='vqa_open')\n")
    assert run(config, merged, photos, '--device', 'cpu') == 2
    assert 'answers questions: give --question' in capsys.readouterr().err
    assert run(config, merged, photos / '0.png', '--device', 'cpu', '--question', 'Why?') == 0
    record = json.loads(capsys.readouterr().out)
    assert record['question'] == 'Why?' and record['pred_answer']


def test_settings_of_settings_can_be_given(merged, photos, capsys):
    option = ('--cfg-options', 'generation_cfg.max_new_tokens=2')
    assert run(CONFIG, merged, photos / '0.png', '--device', 'cpu', *option) == 0
    assert len(json.loads(capsys.readouterr().out)['pred_caption']) < 20


def test_a_run_that_is_stopped_keeps_what_was_done(merged, photos, tmp_path, capsys, monkeypatch):
    from mmllava.apis.inferencers import CaptionInferencer

    predict, out = CaptionInferencer.predict_all, tmp_path / 'out.json'

    def until_the_third(self, inputs, **kwargs):
        if inputs[0]['img'].stem == '2':
            raise KeyboardInterrupt
        return predict(self, inputs, **kwargs)

    monkeypatch.setattr(CaptionInferencer, 'predict_all', until_the_third)
    assert run(CONFIG, merged, photos, '--device', 'cpu', '--out', out) == 130
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == len(json.loads(out.read_text())) == 2
    assert 'inference: stopped' in said.err


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (('--question', 'Why?'), 'captions: drop --question'),
        (('--out', '.'), '--out is ., a folder'),
    ],
)
def test_options_that_do_not_fit_are_refused(merged, photos, args, message, capsys):
    assert run(CONFIG, merged, photos, '--device', 'cpu', *args) == 2
    assert message in capsys.readouterr().err


def test_the_model_in_the_package_needs_no_config_and_no_checkpoint(capsys):
    image = ROOT / 'demo/cat-dog.png'
    assert run('tiny', image, '--device', 'cpu') == 0
    captioned = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert 'cat' in captioned['pred_caption'] and 'dog' in captioned['pred_caption']
    assert run('tiny', image, '--device', 'cpu', '--question', 'What color is the cat?') == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])['pred_answer'] == 'Orange'


def test_a_llava_folder_is_loaded_as_load_loads_it(photos, tmp_path, capsys):
    folder = tmp_path / 'a name that says nothing'
    shutil.copytree(WEIGHTS, folder)
    assert run(folder, photos / '0.png', '--device', 'cpu', '--dtype', 'float32') == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])['pred_caption']


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (('tiny',), 'no image was named'),
        ((CONFIG,), 'is a config, and needs a CHECKPOINT after it'),
        ((CONFIG, 'x', 'p.png', '--tower', 'clip'), '--tower goes with a LLaVA folder'),
        (('./gone', 'p.png'), "unknown model './gone'"),
        (('demo', 'p.png', '--device', 'cpu'), 'demo'),
    ],
)
def test_what_cannot_be_a_model_is_refused_by_name(args, message, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert run(*args) == 2
    assert message in capsys.readouterr().err
