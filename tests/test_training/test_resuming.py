"""What a run that goes on needs as it was, and what killed runs leave behind."""

import json
import os

import pytest
import torch

from mmllava.errors import CheckpointError
from mmllava.training import resuming, saving
from tests.conftest import MODELS
from tests.test_datasets.conftest import PIPELINE
from tests.test_training.tiny import TRAIN, losses, train, training_config

DEAD = 2**22 + 1  # no process has this number


def files_config(folder, batch=TRAIN['batch'], **changes):
    """The recorded batch as a file on disk."""
    folder.mkdir(exist_ok=True)
    (folder / 'rows.json').write_text(json.dumps(batch))
    config = training_config(folder / 'run', dict(train=['projector']), epochs=2)
    resize = dict(type='mmllava.CLIPResize', size=56, aspect='pad')
    config.train_dataloader.dataset = dict(
        type='mmllava.InstructDataset',
        ann_file=str(folder / 'rows.json'),
        img_root=str(MODELS),
        pipeline=[PIPELINE[0], resize, PIPELINE[-1]],
    )
    config.default_hooks.checkpoint.interval = 1
    config.merge_from_dict(changes)
    return config


def test_a_changed_word_in_the_data_is_refused(tmp_path, capsys):
    assert train(files_config(tmp_path), tmp_path) == 0
    assert train(files_config(tmp_path), tmp_path, '--resume') == 0
    other = json.loads(json.dumps(TRAIN['batch']))
    other[0]['conversations'][1]['value'] += ' indeed'
    assert train(files_config(tmp_path, other), tmp_path, '--resume') == 2
    assert 'the training files are not those that' in capsys.readouterr().err


def test_a_changed_rate_is_refused_and_named(tmp_path, capsys):
    config = training_config(tmp_path, dict(train=['projector']), epochs=2)
    assert train(config, tmp_path) == 0
    config = training_config(tmp_path, dict(train=['projector']), epochs=2)
    config.optim_wrapper.optimizer.lr = 2e-3
    assert train(config, tmp_path, '--resume') == 2
    assert 'optim_wrapper.optimizer.lr was 0.001 and is 0.002' in capsys.readouterr().err


def test_paths_and_workers_may_change():
    config = training_config('work', dict(train=['projector']))
    first = dict(resuming._leaves('x', config.optim_wrapper))
    assert first['x.optimizer.lr'] == '0.001'
    loop = type('Loop', (), {})()
    loop.accumulate = loop.steps_per_epoch = loop.max_epochs = 1
    loop.dataloader = type('Loader', (), dict(batch_size=1, dataset=[1]))
    before = resuming.describe_run(config, loop, 1)
    config.model.init_cfg.checkpoint = 'elsewhere'
    config.train_dataloader.num_workers = 9
    assert resuming.describe_run(config, loop, 1) == before
    config.stage.recompute = True
    assert resuming.describe_run(config, loop, 1) != before


def test_a_run_without_a_seed_goes_on_with_the_one_it_drew(tmp_path):
    shuffled = dict(type='DefaultSampler', shuffle=True)
    config = training_config(tmp_path, dict(train=['projector']), batch_size=1, epochs=2)
    config.train_dataloader.sampler = shuffled
    config.default_hooks.checkpoint.interval = 4
    config.randomness = dict(seed=None)
    assert train(config, tmp_path) == 0
    whole, seed = losses(tmp_path), saving.read_state(tmp_path / 'iter_4')['seed']
    again = config.copy()
    again.work_dir = str(tmp_path / 'again')
    assert train(again, tmp_path / 'again', '--resume', str(tmp_path / 'iter_4')) == 0
    assert losses(tmp_path / 'again') == whole[4:]
    assert saving.read_state(tmp_path / 'again/iter_8')['seed'] == seed


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'cannot be read .*Go on from an earlier iter_N with --resume FOLDER'),
        (b'PK\x03\x04 and then the disk was full', 'cannot be read .*Go on from an earlier'),
        (dict(step=1, seed=0), 'has no shape, .*another version of mmllava wrote it'),
    ],
    ids=['empty', 'cut', 'old'],
)
def test_a_damaged_state_is_named_with_what_to_do(tmp_path, content, message):
    file = tmp_path / 'resume.pth'
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(CheckpointError, match=message):
        saving.read_state(tmp_path)


def test_what_killed_runs_left_is_swept_and_a_replaced_checkpoint_has_its_name_again(tmp_path):
    left = [f'.iter_3.part-{DEAD}', f'.iter_2.gone-{DEAD}', f'.iter_1.old-{DEAD}']
    left += [f'.iter_4.old-{DEAD}', f'.iter_5.part-{os.getppid()}', '.iter_6', 'iter_4']
    for name in left:
        (tmp_path / name).mkdir()
        (tmp_path / name / 'file').write_text(name)
    saving.sweep(tmp_path)
    found = {path.name: (path / 'file').read_text() for path in tmp_path.iterdir()}
    assert found == {
        'iter_1': left[2],  # killed between two renames: it is whole
        'iter_4': 'iter_4',
        left[4]: left[4],  # its process is still there
        '.iter_6': '.iter_6',
    }


def test_a_run_sweeps_before_it_looks_for_the_latest(tmp_path):
    config = training_config(tmp_path, dict(train=['projector']), epochs=2)
    assert train(config, tmp_path) == 0
    (tmp_path / 'iter_2').rename(tmp_path / f'.iter_2.old-{DEAD}')
    assert train(config, tmp_path, '--resume') == 0
    assert (tmp_path / 'iter_2').is_dir()


def test_a_deleted_checkpoint_loses_its_name_first(tmp_path, monkeypatch):
    folder = tmp_path / 'iter_1'
    folder.mkdir()
    seen = []
    monkeypatch.setattr(saving.shutil, 'rmtree', lambda path, **_: seen.append(path.name))
    saving.remove(folder)
    assert seen == [f'.iter_1.gone-{os.getpid()}']
    assert not folder.exists()


def test_a_template_that_is_another_in_data_and_model_is_refused(tmp_path, capsys):
    config = files_config(tmp_path)
    config.train_dataloader.dataset.template = 'llava_v1'
    assert train(config, tmp_path) == 2
    assert "the dataset has template='llava_v1' and the model" in capsys.readouterr().err
