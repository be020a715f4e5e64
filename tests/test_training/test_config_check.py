"""What a config says works, or is refused before the first step with what to write."""

import importlib
import shutil

import mmengine.hooks
import mmengine.registry
import mmengine.visualization
import pytest
import torch

from mmllava.errors import ConfigError
from mmllava.training.config_check import (
    BACKEND_PACKAGES,
    HOOK_DECISIONS,
    WRAPPER_ADVICE,
    WRAPPER_DECISIONS,
    check_config,
)
from tests.conftest import ROOT
from tests.helpers.training_run import losses, train, training_config
from tests.test_training.test_validation import data, validating  # noqa: F401

PROJECTOR = dict(train=['projector'])


def config_of(folder, **changes):
    """Two epochs of two steps."""
    return training_config(folder, PROJECTOR, batch_size=2, epochs=2, **changes)


def own(registry):
    """The names that mmengine itself registers."""
    return {n for n, c in registry.module_dict.items() if c.__module__.startswith('mmengine.')}


@pytest.mark.parametrize(
    ('registry', 'table'),
    [
        (mmengine.registry.HOOKS, HOOK_DECISIONS),
        (mmengine.registry.VISBACKENDS, BACKEND_PACKAGES),
        (mmengine.registry.OPTIM_WRAPPERS, WRAPPER_DECISIONS),
        (mmengine.registry.DATASETS, WRAPPER_ADVICE),
    ],
    ids=['hooks', 'backends', 'optim wrappers', 'dataset wrappers'],
)
def test_there_is_a_decision_for_everything_that_mmengine_registers(registry, table):
    assert own(registry)
    assert not own(registry) - table.keys()


def test_there_is_a_decision_for_every_hook_of_mmpretrain():
    hooks = set(importlib.import_module('mmpretrain.engine.hooks').__all__)
    assert hooks and not hooks - HOOK_DECISIONS.keys()


ARGUMENTS = {
    'EMAHook': {},
    'EarlyStoppingHook': dict(monitor='eval/score', rule='greater'),
    'PrepareTTAHook': dict(tta_cfg={}),
    'SyncBuffersHook': {},
}
MMENGINE = sorted(own(mmengine.registry.HOOKS) - {'EarlyStoppingHook', 'ParamSchedulerHook'})


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
    """The losses of a run without further hooks."""
    folder = tmp_path_factory.mktemp('plain')
    assert train(config_of(folder), folder) == 0
    return losses(folder)


@pytest.mark.parametrize('name', MMENGINE)
def test_a_hook_of_mmengine_leaves_training_as_it_is_or_is_refused_by_name(
    name, plain, tmp_path, capsys
):
    config = config_of(tmp_path)
    config.custom_hooks.append(dict(type=name, **ARGUMENTS.get(name, {})))
    status = train(config, tmp_path)
    if HOOK_DECISIONS[name] is None:
        assert status == 0
        assert losses(tmp_path) == plain
        assert (tmp_path / 'iter_4').is_dir()
    else:
        assert status == 2
        said = capsys.readouterr().err
        assert f'custom_hooks[1] is a {name}: ' in said
        assert HOOK_DECISIONS[name] in said
        assert not tmp_path.joinpath('iter_4').exists() and not losses(tmp_path)


def test_the_checkpoint_hook_of_mmengine_is_refused_in_place_of_ours(tmp_path, capsys):
    config = config_of(tmp_path)
    config.default_hooks.checkpoint = dict(type='CheckpointHook', interval=1)
    assert train(config, tmp_path) == 2
    assert "dict(type='mmllava.SafeCheckpointHook', interval=500" in capsys.readouterr().err
    assert not losses(tmp_path)


@pytest.mark.parametrize('missing', ['checkpoint', 'param_scheduler'])
def test_a_default_hook_that_the_config_does_not_name_is_ours(missing, tmp_path):
    config = config_of(tmp_path, param_scheduler=dict(type='StepLR', step_size=1))
    config.default_hooks.pop(missing, None)
    assert train(config, tmp_path) == 0
    assert (tmp_path / 'iter_4').is_dir()


@pytest.mark.parametrize('name', ['runtime_info', 'timer', 'sampler_seed', 'logger'])
def test_a_default_hook_may_be_left_out(name, tmp_path):
    config = config_of(tmp_path)
    config.custom_hooks = []
    config.default_hooks[name] = None
    assert train(config, tmp_path) == 0
    assert (tmp_path / 'iter_4').is_dir()


@pytest.mark.slow
def test_a_run_that_is_stopped_early_keeps_its_last_step_and_stops_again(data, tmp_path):  # noqa: F811
    scores = [3.0, 2.0, 1.0]
    config = validating(tmp_path, data, dict(type='mmllava.Scripted', scores=scores))
    config.default_hooks.checkpoint.interval = -1
    config.custom_hooks.append(
        dict(type='EarlyStoppingHook', monitor='eval/score', rule='greater', patience=1)
    )
    assert train(config, tmp_path) == 0
    run = tmp_path / 'run'
    assert [p.name for p in run.glob('iter_*')] == ['iter_4']
    config.val_evaluator.scores = [2.0]
    assert train(config, tmp_path, '--resume') == 0
    assert [p.name for p in run.glob('iter_*')] == ['iter_4']
    assert len(losses(run)) == 4


@pytest.mark.slow
def test_a_resumed_run_knows_the_scores_that_may_stop_it(data, tmp_path):  # noqa: F811
    config = validating(tmp_path, data, dict(type='mmllava.Scripted', scores=[3.0, 2.0, 1.0]))
    config.custom_hooks.append(
        dict(type='EarlyStoppingHook', monitor='eval/score', rule='greater', patience=2)
    )
    config.default_hooks.checkpoint.max_keep_ckpts = -1
    config.train_cfg.max_epochs = 8
    assert train(config, tmp_path) == 0
    run = tmp_path / 'run'
    assert len(losses(run)) == 6
    shutil.rmtree(run / 'iter_6')
    config.val_evaluator.scores = [1.0]
    assert train(config, tmp_path, '--resume') == 0
    assert len(losses(run)) == 6


INSTRUCT = dict(type='InstructDataset', ann_file='a.json')
BAD = {
    'train_cfg.max_epoch': (dict(train_cfg=dict(max_epoch=2)), "'max_epoch'. Did you mean max_epo"),
    'train_cfg.by_epoch': (dict(train_cfg=dict(by_epoch=True)), "StepLoop (train_cfg) 'by_epoch'"),
    'train_cfg.type': (dict(train_cfg=dict(type='EpochBasedTrainLoop')), "'mmllava.StepLoop', max"),
    'train_cfg.max_epochs': (dict(train_cfg=dict(max_epochs='2x')), "max_epochs is '2x', expected"),
    'train_cfg.val_interval': (dict(train_cfg=dict(val_interval=0)), 'val_interval is 0'),
    'lr': (dict(optim_wrapper=dict(optimizer=dict(lr='2e-5x'))), "optimizer.lr is '2e-5x', expect"),
    'lr infinite': (dict(optim_wrapper=dict(optimizer=dict(lr=float('inf')))), 'lr is inf'),
    'lr negative': (dict(optim_wrapper=dict(optimizer=dict(lr=-1.0))), 'lr is -1.0'),
    'lr None': (dict(optim_wrapper=dict(optimizer=dict(lr=None))), 'lr is None'),
    'decay': (dict(optim_wrapper=dict(optimizer=dict(weight_decay='no'))), "weight_decay is 'no'"),
    'betas': (dict(optim_wrapper=dict(optimizer=dict(betas=('0.9', 0.9)))), 'betas is'),
    'optimizer': (
        dict(optim_wrapper=dict(optimizer=dict(momentun=0.9))),
        'AdamW (optim_wrapper.op',
    ),
    'projector_lr': (dict(optim_wrapper=dict(paramwise_cfg=dict(projector_lr='x'))), "lr is 'x'"),
    'accumulate': (dict(optim_wrapper=dict(accumulative_counts='2x')), 'accumulative_counts is'),
    'clip_grad': (dict(optim_wrapper=dict(clip_grad=dict(max_norm='x'))), 'dict(max_norm=1.0)'),
    'clip_grad number': (dict(optim_wrapper=dict(clip_grad=1.0)), 'dict(max_norm=1.0)'),
    'apex': (dict(optim_wrapper=dict(type='ApexOptimWrapper')), 'Apex is not used here'),
    'deepspeed': (dict(optim_wrapper=dict(type='DeepSpeedOptimWrapper')), "strategy.type='FSDP'"),
    'scheduler': (
        dict(param_scheduler=dict(type='StepLR', step=1)),
        'StepLR (param_sched',
    ),
    'scheduler text': (dict(param_scheduler=dict(type='StepLR', step_size='1x')), "size is '1x'"),
    'scheduler without': (dict(param_scheduler=dict(type='StepLR')), 'a StepLR without step_size'),
    'scheduler without type': (dict(param_scheduler=dict(a=dict(type='StepLR'))), 'a and no type'),
    'scheduler end': (
        dict(param_scheduler=dict(type='LinearLR', begin=3, end=1)),
        'end should be larger than begin',
    ),
    'scheduler NaN': (
        dict(param_scheduler=dict(type='ExponentialLR', gamma=float('nan'))),
        'gamma is nan',
    ),
    'converted': (
        dict(param_scheduler=dict(type='PolyLR', by_epoch=False, convert_to_iter_based=True)),
        'convert_to_iter_based=True and cannot be converted',
    ),
    'plateau': (dict(param_scheduler=dict(type='ReduceOnPlateauLR')), 'follows a score of the val'),
    'no scheduler hook': (
        dict(
            param_scheduler=dict(type='StepLR', step_size=1),
            default_hooks=dict(param_scheduler=None),
        ),
        'no learning rate would move',
    ),
    'two scheduler hooks': (
        dict(
            default_hooks=dict(param_scheduler=dict(type='ParamSchedulerHook')),
            custom_hooks=[dict(type='mmengine.ParamSchedulerHook')],
        ),
        'two ParamSchedulerHooks',
    ),
    'a scheduler hook beside the default one': (
        dict(custom_hooks=[dict(type='ParamSchedulerHook')]),
        'two ParamSchedulerHooks',
    ),
    'no checkpoint': (
        dict(default_hooks=dict(checkpoint=None)),
        'would be lost. Write',
    ),
    'checkpoint by_epoch': (
        dict(default_hooks=dict(checkpoint=dict(by_epoch=True))),
        "unknown setting of SafeCheckpointHook (default_hooks.checkpoint) 'by_epoch'",
    ),
    'checkpoint interval': (
        dict(default_hooks=dict(checkpoint=dict(interval='5s'))),
        "interval is '5s', expected a number",
    ),
    'checkpoint priority': (
        dict(default_hooks=dict(checkpoint=dict(priority='HIGH'))),
        'a checkpoint is written after all that belongs to its step',
    ),
    'priority': (dict(custom_hooks=[dict(type='SpeedHook', priority='FIRST')]), 'priority cannot'),
    'hook without type': (dict(custom_hooks=[dict(interval=1)]), 'custom_hooks[0] is'),
    'hook unknown': (
        dict(custom_hooks=[dict(type='SpeadHook')]),
        "'SpeadHook'. Did you mean",
    ),
    'ema of mmpretrain': (
        dict(custom_hooks=[dict(type='mmpretrain.EMAHook')]),
        'custom_hooks[0] is a EMAHook',
    ),
    'early stopping': (
        dict(custom_hooks=[dict(type='EarlyStoppingHook', monitor='CIDEr')]),
        'there is no val loop to give its score',
    ),
    'concat': (
        dict(train_dataloader=dict(dataset=dict(type='ConcatDataset', datasets=[INSTRUCT]))),
        'is a ConcatDataset, behind which bad samples would not be skipped and changed files not '
        'be seen. InstructDataset mixes files itself: write dataset.ann_file=[dict(',
    ),
    'repeat': (
        dict(train_dataloader=dict(dataset=dict(type='RepeatDataset', dataset=INSTRUCT, times=2))),
        'weight=TIMES)]',
    ),
    'balanced': (
        dict(
            train_dataloader=dict(
                dataset=dict(type='ClassBalancedDataset', dataset=INSTRUCT, oversample_thr=0.1)
            )
        ),
        'a weight for each file',
    ),
    'another wrapper': (
        dict(train_dataloader=dict(dataset=dict(type='mmpretrain.KFoldDataset', dataset=INSTRUCT))),
        'is a KFoldDataset, behind which',
    ),
    'sliced': (dict(train_dataloader=dict(num_batch_per_epoch=1)), 'weight=0.1)]'),
    'batch sampler': (
        dict(train_dataloader=dict(batch_sampler=dict(type='BatchSampler'))),
        'goes around the steps',
    ),
    'endless sampler': (
        dict(train_dataloader=dict(sampler=dict(type='InfiniteSampler'))),
        "dict(type='DefaultSampler', shuffle=True)",
    ),
    'sampler': (
        dict(train_dataloader=dict(sampler=dict(shufle=True))),
        "'shufle'. Did you",
    ),
    'no sampler': (dict(train_dataloader=dict(sampler=None)), 'train_dataloader has no sampler'),
    'loader': (dict(train_dataloader=dict(num_worker=1)), "'num_worker'. Did you mean num_workers"),
    'batch size': (dict(train_dataloader=dict(batch_size='4x')), "batch_size is '4x'"),
    'default hook': (
        dict(default_hooks=dict(speed=None)),
        'default_hooks.speed=None removes nothing',
    ),
    'auto_scale_lr bool': (dict(auto_scale_lr=True), 'auto_scale_lr is True, expected dict('),
    'warmup cosine by epoch': (
        dict(param_scheduler=dict(type='mmllava.WarmupCosineLR', ratio=0.03)),
        'WarmupCosineLR counts steps. Write by_epoch=False',
    ),
    'plateau converted': (
        dict(param_scheduler=dict(type='ReduceOnPlateauLR', convert_to_iter_based=True)),
        'cannot be converted',
    ),
    'end of a scheduler': (
        dict(param_scheduler=dict(type='LinearLR', start_factor=0.1, end=None)),
        'param_scheduler',
    ),
    'auto_scale_lr': (dict(auto_scale_lr=dict(enable=True)), 'base_batch_size=None, expected'),
    'auto_scale_lr key': (
        dict(auto_scale_lr=dict(base=8)),
        "unknown setting of auto_scale_lr 'b",
    ),
    'activation checkpointing': (
        dict(activation_checkpointing=['language']),
        'stage.gradient_checkpointing=True',
    ),
}


@pytest.mark.parametrize('case', BAD)
def test_a_setting_that_cannot_work_is_told_before_anything_is_built(case, tmp_path):
    changes, message = BAD[case]
    config = config_of(tmp_path, **changes)
    for key, value in changes.items():  # as a whole, where merging would keep what was there
        if key in ('custom_hooks', 'param_scheduler'):
            config[key] = value
    if 'dataset' in changes.get('train_dataloader', {}):
        config.train_dataloader.dataset = changes['train_dataloader']['dataset']
    with pytest.raises(ConfigError) as error:
        check_config(config)
    assert message in str(error.value)


@pytest.mark.parametrize('case', ['lr', 'train_cfg.max_epoch', 'no checkpoint', 'sliced', 'apex'])
def test_the_tool_refuses_it_with_status_2_and_trains_nothing(case, tmp_path, capsys):
    assert train(config_of(tmp_path, **BAD[case][0]), tmp_path) == 2
    assert BAD[case][1] in capsys.readouterr().err
    assert not losses(tmp_path)


@pytest.mark.parametrize('name', sorted(own(mmengine.registry.VISBACKENDS)))
def test_a_backend_whose_package_is_missing_is_told_with_what_to_install(
    name, tmp_path, monkeypatch, capsys
):
    package = BACKEND_PACKAGES[name]
    config = config_of(tmp_path)
    config.visualizer = dict(type='UniversalVisualizer', vis_backends=[dict(type=name)])
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    if package is None:
        check_config(config)
        return
    assert train(config, tmp_path) == 2
    assert f'`pip install {package}`' in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason='it works there')
def test_mixed_precision_of_mmengine_is_refused_where_there_is_no_gpu(tmp_path, capsys):
    assert train(config_of(tmp_path, optim_wrapper=dict(type='AmpOptimWrapper')), tmp_path) == 2
    assert "Set optim_wrapper.type='mmllava.BFloat16OptimWrapper'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ('epochs', 'scheduler'),
    [
        (1, dict(type='MultiStepLR', milestones=[1, 2], by_epoch=True)),
        (1, dict(type='StepLR', step_size=1)),
        (1, dict(type='LinearLR', start_factor=0.003, by_epoch=True, end=3)),
        (3, dict(type='LinearLR', start_factor=0.003, by_epoch=True, end=1)),
        (2, dict(type='CosineAnnealingLR', begin=1)),
        (2, dict(type='PolyLR', begin=1)),
        (3, dict(type='MultiStepLR', milestones=[8])),
        (3, dict(type='StepLR', step_size=5)),
    ],
    ids=lambda value: value['type'] if isinstance(value, dict) else None,
)
def test_a_scheduler_that_counts_epochs_and_would_never_move_is_refused(
    epochs, scheduler, tmp_path, capsys
):
    config = training_config(tmp_path, PROJECTOR, epochs=epochs, param_scheduler=scheduler)
    assert train(config, tmp_path) == 2
    assert f'{scheduler["type"]} counts epochs and holds its first value' in capsys.readouterr().err
    assert not losses(tmp_path)


@pytest.mark.parametrize(
    'config', sorted((ROOT / 'configs/train').glob('*.py')), ids=lambda f: f.stem
)
def test_every_recipe_passes(config):
    check_config(mmengine.Config.fromfile(config))


def test_the_reason_of_a_library_ends_as_an_error_of_ours(tmp_path, capsys):
    config = config_of(tmp_path)
    config.custom_hooks.append(dict(type='ProfilerHook', profile_times=3, by_epoch=True))
    assert train(config, tmp_path) == 2
    assert 'Profiler will profile 0-3 epochs' in capsys.readouterr().err


def test_the_data_check_names_what_to_write_for_a_wrapped_dataset(tmp_path, capsys):
    import sys

    sys.path.insert(0, str(ROOT / 'tools/misc'))
    try:
        import check_data
    finally:
        sys.path.pop(0)
    config = mmengine.Config.fromfile(ROOT / 'demo/llava-random_train.py')
    inner = config.train_dataloader.dataset.to_dict()
    config.train_dataloader.dataset = dict(type='RepeatDataset', dataset=inner, times=2)
    config.dump(tmp_path / 'config.py')
    assert check_data.main([str(tmp_path / 'config.py'), '--out', str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert 'is a RepeatDataset' in said and 'weight=TIMES' in said
