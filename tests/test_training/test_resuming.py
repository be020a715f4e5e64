"""What a run that goes on needs as it was, and what killed runs leave behind."""

import json
import os
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmllava.checkpoints.storage import lock
from mmllava.errors import CheckpointError, ConfigError
from mmllava.training import checkpoint, resume
from tests.conftest import MODELS
from tests.helpers.training_run import TRAIN, losses, train, training_config
from tests.test_datasets.conftest import PIPELINE

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


def test_a_changed_rate_or_a_second_branch_is_refused(tmp_path, capsys):
    config = training_config(tmp_path, dict(train=['projector']), epochs=2)
    config.default_hooks.checkpoint.interval = 1
    assert train(config, tmp_path) == 0
    first, last = (tmp_path / f'iter_{k}' for k in (1, 2))
    assert train(config, tmp_path, '--resume', str(first)) == 2
    assert f'{last} is later than {first}, and the next --resume' in capsys.readouterr().err
    (tmp_path / 'other').mkdir()
    first.rename(tmp_path / 'other/iter_1')
    assert train(config, tmp_path, '--resume', str(tmp_path / 'other/iter_1')) == 2
    assert 'lies elsewhere: two runs would share a folder' in capsys.readouterr().err
    config = training_config(tmp_path, dict(train=['projector']), epochs=2)
    config.optim_wrapper.optimizer.lr = 2e-3
    assert train(config, tmp_path, '--resume') == 2
    assert 'optim_wrapper.optimizer.lr was 0.001 and is 0.002' in capsys.readouterr().err


def test_paths_and_workers_may_change():
    config = training_config('work', dict(train=['projector']))
    first = dict(resume._leaves('x', config.optim_wrapper))
    assert first['x.optimizer.lr'] == '0.001'
    loop = type('Loop', (), {})()
    loop.accumulate = loop.steps_per_epoch = loop.max_epochs = 1
    loop.dataloader = type('Loader', (), dict(batch_size=1, dataset=[1]))
    before = resume.describe_run(config, loop, 1)
    config.model.init_cfg.checkpoint = 'elsewhere'
    config.train_dataloader.num_workers = 9
    assert resume.describe_run(config, loop, 1) == before
    config.stage.gradient_checkpointing = True
    config.model.update(task='vqa', preset='vqa_short', generation_cfg=dict(max_new_tokens=1))
    config.model.lang_encoder.pretrained = config.model.vision_encoder.pretrained = 'elsewhere'
    config.model.tokenizer.name_or_path = 'elsewhere'
    assert resume.describe_run(config, loop, 1) == before
    folder = Path('iter_1')
    for changes in (
        dict(stage=dict(lora=dict(r=1))),
        dict(randomness=dict(deterministic=True)),
        dict(model=dict(bits=4)),
        dict(model=dict(dtype='bfloat16')),
        dict(model=dict(pack=True)),
        dict(model=dict(use_im_start_end=True)),
        dict(model=dict(mm_vision_select_layer=-1)),
        dict(model=dict(mm_patch_merge_type='spatial')),
        dict(model=dict(image_grid_pinpoints=[(112, 56)])),
        dict(model=dict(vision_encoder=dict(select_feature='cls_patch'))),
    ):
        other = config.copy()
        other.merge_from_dict(changes)
        now = resume.describe_run(other, loop, 1)
        with pytest.raises(CheckpointError, match='was trained with other settings'):
            resume.check_same(folder, dict(before, seed=0), dict(now, seed=0))
    now = dict(before, seed=0, tower='b')
    with pytest.raises(CheckpointError, match='checkpoint of vision_encoder was a and is b'):
        resume.check_same(folder, dict(before, seed=0, tower='a'), now)


def test_a_process_that_does_not_see_the_checkpoint_is_told(tmp_path, monkeypatch):
    (tmp_path / 'iter_1').mkdir()
    (tmp_path / 'iter_1/resume.pth').touch()
    monkeypatch.setattr(resume, 'get_world_size', lambda: 16)
    monkeypatch.setattr(resume, 'all_gather_object', lambda sees: [sees] * 8 + [False] * 8)
    with pytest.raises(CheckpointError, match='not there for 8 of 16 processes, .* 8. Put'):
        resume.find(Config(), str(tmp_path))


def test_a_second_run_in_the_same_folder_is_refused_while_the_first_lives(tmp_path):
    assert resume.lock_work_dir(tmp_path)
    assert resume.lock_work_dir(tmp_path)  # the same process may begin anew
    child = os.fork()
    if not child:
        resume._HANDLES.clear()  # as in a process that was started, and not forked
        try:
            resume.lock_work_dir(tmp_path)
        except ConfigError as error:
            os._exit(7 if 'not over yet trains in' in str(error) else 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_what_is_no_checkpoint_is_not_deleted(tmp_path):
    for name in ('iter_1', 'iter_2'):
        (tmp_path / name).mkdir()
    (tmp_path / 'iter_2/resume.pth').touch()
    (tmp_path / 'iter_3').touch()
    (tmp_path / 'iter_4').symlink_to(tmp_path / 'iter_2')
    for number in (1, 3, 4, 5, 2):
        checkpoint.remove(tmp_path / f'iter_{number}')
    assert sorted(p.name for p in tmp_path.iterdir()) == ['iter_1', 'iter_3', 'iter_4']


def test_a_run_without_a_seed_goes_on_with_the_one_it_drew(tmp_path):
    shuffled = dict(type='DefaultSampler', shuffle=True)
    config = training_config(tmp_path, dict(train=['projector']), batch_size=1, epochs=2)
    config.train_dataloader.sampler = shuffled
    config.default_hooks.checkpoint.interval = 4
    config.randomness = dict(seed=None)
    assert train(config, tmp_path) == 0
    whole, seed = losses(tmp_path), checkpoint.read_state(tmp_path / 'iter_4')['seed']
    again = config.copy()
    again.work_dir = str(tmp_path / 'again')
    assert train(again, tmp_path / 'again', '--resume', str(tmp_path / 'iter_4')) == 0
    assert losses(tmp_path / 'again') == whole[4:]
    assert checkpoint.read_state(tmp_path / 'again/iter_8')['seed'] == seed
    said = Config.fromfile(tmp_path / 'again/iter_8/config.py')
    assert not {'load_from', 'resume', 'launcher', 'model_wrapper_cfg'} & {*said}


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'cannot be read .*Move it away, and --resume goes on from the iter_N before it'),
        (b'PK\x03\x04 and then the disk was full', 'cannot be read .*Move it away, and'),
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
        checkpoint.read_state(tmp_path)


@pytest.mark.parametrize('alone', [True, False])
def test_what_killed_runs_left_is_swept_and_a_replaced_checkpoint_has_its_name_again(
    tmp_path, alone
):
    left = [f'.iter_3.part-{DEAD}', f'.iter_2.gone-{DEAD}', f'.iter_1.old-{DEAD}']
    left += [f'.iter_4.old-{DEAD}', '.iter_5.part-7', '.iter_6', 'iter_4']
    for name in left:
        (tmp_path / name).mkdir()
        (tmp_path / name / 'file').write_text(name)
    (tmp_path / f'.iter_3.lock-{DEAD}').touch()
    handle = lock.make(tmp_path / '.iter_5.lock-7')
    checkpoint.remove_leftovers(tmp_path, alone)
    os.close(handle)
    assert (tmp_path / '.iter_5.lock-7').exists() is not alone
    (tmp_path / '.iter_5.lock-7').unlink(missing_ok=True)
    found = {path.name: (path / 'file').read_text() for path in tmp_path.iterdir()}
    assert found == {
        'iter_1': left[2],  # killed between two renames: it is whole
        'iter_4': 'iter_4',
        '.iter_6': '.iter_6',
    } | ({} if alone else {left[4]: left[4]})  # its run is still there


def test_a_run_sweeps_before_it_looks_for_the_latest(tmp_path):
    config = training_config(tmp_path, dict(train=['projector']), epochs=2)
    assert train(config, tmp_path) == 0
    (tmp_path / 'iter_2').rename(tmp_path / f'.iter_2.old-{DEAD}')
    assert train(config, tmp_path, '--resume') == 0
    assert (tmp_path / 'iter_2').is_dir()


def test_a_deleted_checkpoint_loses_its_name_first(tmp_path, monkeypatch):
    folder = tmp_path / 'iter_1'
    folder.mkdir()
    (folder / 'resume.pth').touch()
    seen = []
    monkeypatch.setattr(checkpoint.shutil, 'rmtree', lambda path, **_: seen.append(path.name))
    checkpoint.remove(folder)
    assert seen == [f'.iter_1.gone-{os.getpid()}']
    assert not folder.exists()
