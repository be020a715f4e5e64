"""tools/train.py, as a user calls it."""

import json
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from mmllava import ChatSession, get_model
from mmllava.training.hooks import SpeedHook
from tests.conftest import MODELS, ROOT
from tests.helpers.training_run import train, training_config, write_config

sys.path.insert(0, str(ROOT / 'tools'))
import train as tool

sys.path.pop(0)
TOY = ROOT / 'demo/llava-random_train.py'


@pytest.mark.slow
def test_the_toy_run_teaches_what_its_rows_say(tmp_path, capsys):
    assert tool.main([str(TOY), '--work-dir', str(tmp_path)]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said == dict(steps=60, checkpoint=str(tmp_path / 'iter_60'))
    chat = ChatSession(get_model(str(TOY), pretrained=said['checkpoint'], device='cpu'))
    rows = json.loads((ROOT / 'demo/train.json').read_text())
    for row in rows[:3]:
        chat.reset()
        answer = chat.ask('What is it?', str(MODELS / 'images' / row['image']), temperature=0)
        assert answer == row['conversations'][1]['value']


def test_what_is_trained_and_how_fast_is_in_the_log(tmp_path):
    config = training_config(tmp_path, dict(train=['projector']), epochs=1)
    assert train(config, tmp_path) == 0
    (log,) = tmp_path.glob('*/*.log')
    text = log.read_text()
    assert 'What is trained:' in text
    (line,) = (x for x in text.splitlines() if 'Iter(train) [1/1]' in x)
    for word in ('lr:', 'eta:', 'loss:', 'tokens_per_s:', 'samples_per_s:', 'padding:'):
        assert word in line
    assert Config.fromfile(tmp_path / 'iter_1/config.py').stage.train == ['projector']


@pytest.mark.parametrize(
    ('remove', 'message'),
    [
        ('train_dataloader', 'has no train_dataloader, so it cannot be trained'),
        ('stage', 'the config has no stage'),
    ],
)
def test_a_config_that_lacks_something_is_told_what(tmp_path, capsys, remove, message):
    config = training_config(tmp_path, dict(train=['projector']))
    config.pop(remove)
    assert train(config, tmp_path) == 2
    assert message in capsys.readouterr().err


def test_a_part_of_a_val_loop_is_told_what_it_lacks(tmp_path, capsys):
    config = training_config(tmp_path, dict(train=['projector']), val_cfg=dict(type='ValLoop'))
    assert train(config, tmp_path) == 2
    assert 'has val_cfg alone; a val loop takes val_dataloader' in capsys.readouterr().err


def test_a_seed_for_each_process_is_refused(tmp_path, capsys):
    """The samplers would draw another order of the data in each."""
    config = training_config(tmp_path, dict(train=['projector']))
    config.randomness.diff_rank_seed = True
    assert train(config, tmp_path) == 2
    assert 'Leave it out' in capsys.readouterr().err


def test_speed_is_that_of_the_step_without_what_hooks_do_after_it():
    scalars = {}
    hub = SimpleNamespace(update_scalar=scalars.__setitem__)
    runner = SimpleNamespace(
        message_hub=hub, world_size=2, train_loop=SimpleNamespace(began=time.perf_counter() - 4)
    )
    outputs = dict(tokens=torch.tensor(400), slots=torch.tensor(500))
    hook = SpeedHook()
    hook.after_train_iter(runner, 0, [dict(inputs=[1, 2])], outputs)
    assert scalars['train/tokens_per_s'] == pytest.approx(100, rel=0.01)
    assert scalars['train/samples_per_s'] == pytest.approx(1, rel=0.01)
    assert scalars['train/padding'] == pytest.approx(0.2)


def test_a_config_that_is_not_there_is_named(capsys):
    assert tool.main(['nowhere.py']) == 2
    assert 'no config file at nowhere.py; configs/train/README.md' in capsys.readouterr().err


def test_an_option_changes_the_config(tmp_path, capsys):
    config = training_config(tmp_path, dict(train=['projector']))
    file = write_config(config, tmp_path)
    assert tool.main([str(file), '--cfg-options', 'train_cfg.max_epochs=2']) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])['steps'] == 2


def test_lora_without_peft_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'peft', None)
    config = training_config(tmp_path, dict(lora=dict(r=4, alpha=8)))
    assert train(config, tmp_path) == 2
    assert "Run pip install 'mmllava[lora]'" in capsys.readouterr().err
