"""A model that begins at random, all of it trained, and the folder that comes of it."""

import json
import shutil
import stat
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

import mmllava
from mmllava import get_model
from tests.conftest import MODELS, ROOT, tiny_config
from tests.helpers.training_run import TRAIN, losses, train, training_config
from tests.test_datasets.conftest import PIPELINE

PARTS = ['tower', 'projector', 'language']


def whole_config(version, tmp_path, start=None, epochs=2):
    """All three parts are trained, on the recorded images as this version sees them."""
    config = training_config(tmp_path / 'run', dict(train=PARTS), epochs=epochs)
    tiny = tiny_config(version)
    config.model = tiny.model
    if start:
        config.model.init_cfg = dict(type='Pretrained', checkpoint=str(start))
    resize = tiny.test_dataloader.dataset.pipeline[1]
    (tmp_path / 'rows.json').write_text(json.dumps(TRAIN['batch']))
    config.train_dataloader.dataset = dict(
        type='mmllava.InstructDataset',
        ann_file=str(tmp_path / 'rows.json'),
        img_root=str(MODELS),
        pipeline=[PIPELINE[0], resize, PIPELINE[-1]],
    )
    return config


@pytest.fixture(scope='module')
def random_run(tmp_path_factory):
    """The work folder of a v1.5 model that began at random."""
    folder = tmp_path_factory.mktemp('nothing')
    config = whole_config('v1.5', folder, epochs=20)
    config.optim_wrapper.optimizer.lr = 1e-2
    assert train(config, folder) == 0
    return folder / 'run'


def test_tower_projector_and_language_model_learn_from_random_weights(random_run):
    found = losses(random_run)
    assert found[0] == pytest.approx(6.9, abs=0.2)  # log of 1,000 words: it knew nothing
    assert found[-1] < found[0] / 2
    (log,) = random_run.glob('*/*.log')
    assert 'LLaVA has no checkpoint: its weights are random.' in log.read_text()
    model = get_model(tiny_config('v1.5'), pretrained=str(random_run / 'iter_20'), device='cpu')
    learned = load_file(random_run / 'iter_20/model.safetensors')
    assert len(learned) == len(list(model.parameters())) + 2  # a norm that is never read


def test_two_runs_from_random_weights_are_the_same_run(random_run, tmp_path):
    config = whole_config('v1.5', tmp_path, epochs=3)
    config.optim_wrapper.optimizer.lr = 1e-2
    assert train(config, tmp_path) == 0
    assert losses(tmp_path / 'run') == losses(random_run)[:3]


def test_its_folder_needs_no_config(random_run):
    """`mmllava.load` reads from config.json what the run's config said."""
    folder, settings = random_run / 'iter_20', dict(generation_cfg=dict(max_new_tokens=24))
    model = mmllava.load(folder, device='cpu', **settings)
    same = get_model(tiny_config('v1.5'), pretrained=str(folder), device='cpu')
    picture = str(MODELS / 'images/1.png')
    answers = [mmllava.inference_model(m, picture, 'What is it?') for m in (model, same)]
    assert answers[0]['pred_answer'] == answers[1]['pred_answer']


@pytest.mark.parametrize('folder', ['llava-v1.5', 'llava-v1.6'])
def test_its_config_json_says_what_that_of_the_original_says(folder, tmp_path, checkpoints):
    version = folder.removeprefix('llava-')
    config = whole_config(version, tmp_path, checkpoints[version], epochs=1)
    assert train(config, tmp_path) == 0
    ours = json.loads((tmp_path / 'run/iter_1/config.json').read_text())
    theirs = json.loads((MODELS / folder / 'config.json').read_text())
    ours['tokenizer_padding_side'] = 'left'  # theirs was written to answer, not to learn
    left_out = {'attention_dropout', 'pad_token_id', 'pretraining_tp', 'transformers_version'}
    left_out |= {'mm_vision_tower'}  # a folder of that machine
    assert theirs.keys() - ours.keys() == left_out
    assert {k: ours[k] for k in theirs.keys() & ours.keys()} == {
        k: v for k, v in theirs.items() if k in ours
    }


def test_everybody_who_may_read_the_config_may_read_the_weights(random_run):
    modes = {stat.S_IMODE(f.stat().st_mode) for f in (random_run / 'iter_20').iterdir()}
    assert len(modes) == 1


@pytest.mark.slow
def test_convert_takes_it_and_gives_the_same_tensors(random_run, tmp_path):
    tool = [sys.executable, str(ROOT / 'tools/convert.py')]
    for layout in ('hf', 'mmllava'):
        command = [*tool, str(random_run / 'iter_20'), '--to', layout, '--out']
        done = subprocess.run(
            [*command, str(tmp_path / layout)],
            env=dict(PYTHONPATH=str(ROOT)),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    back = [*tool, str(tmp_path / 'hf'), '--to', 'original', '--out', str(tmp_path / 'back')]
    done = subprocess.run(back, env=dict(PYTHONPATH=str(ROOT)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before = load_file(random_run / 'iter_20/model.safetensors')
    after = {}
    for file in (tmp_path / 'back').glob('*.safetensors'):
        after |= load_file(file)
    for name, tensor in after.items():
        assert torch.equal(before[name].to(tensor.dtype), tensor), name


def test_a_projector_of_v1_5_begins_a_model_of_tiles(tmp_path):
    """Its folder knows of no tiles: the newline between their rows is drawn."""
    first = training_config(tmp_path / '1', dict(train=['projector']), epochs=1)
    assert train(first, tmp_path / '1') == 0
    config = whole_config('v1.6', tmp_path, tmp_path / '1/iter_1', epochs=1)
    config.model.lang_encoder.pretrained = str(MODELS / 'llava-v1.5')
    assert train(config, tmp_path) == 0
    (log,) = (tmp_path / 'run').glob('*/*.log')
    assert 'image_newline is randomly initialised' in log.read_text()
    assert 'model.image_newline' in load_file(tmp_path / 'run/iter_1/model.safetensors')


def test_a_model_of_tiles_that_lost_its_newline_is_refused(tmp_path, checkpoints, capsys):
    shutil.copytree(checkpoints['v1.6'], tmp_path / 'lost')
    index = tmp_path / 'lost/model.safetensors.index.json'
    said = json.loads(index.read_text())
    said['weight_map'].pop('model.image_newline')
    index.write_text(json.dumps(said))
    for file in (tmp_path / 'lost').glob('*.safetensors'):
        save_file({k: v for k, v in load_file(file).items() if 'newline' not in k}, file)
    config = whole_config('v1.6', tmp_path, tmp_path / 'lost', epochs=1)
    assert train(config, tmp_path) == 2
    assert '1 tensors missing (image_newline)' in capsys.readouterr().err
