"""Schedulers give the values that mmengine's own runner gives, also in a run that is resumed."""

import json
import shutil

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner import Runner
from torch import nn

from mmllava.registry import HOOKS
from tests.helpers.training_run import losses, train, training_config
from tests.test_training.test_validation import data, validating  # noqa: F401

PROJECTOR = dict(train=['projector'])
EPOCHS, STEPS = 4, 3  # steps of an epoch, each of two micro-batches
LINEAR = dict(start_factor=0.1, begin=0, end=3)
#: class without LR, Momentum or ParamScheduler -> settings, in epochs
KINDS = {
    'Constant': dict(factor=0.5, end=2),
    'CosineAnnealing': dict(T_max=4, begin=1),
    'CosineRestart': dict(periods=[2, 2], restart_weights=[1, 0.5], eta_min=0.0),
    'Exponential': dict(gamma=0.9, begin=1, end=3),
    'Linear': LINEAR,
    'MultiStep': dict(milestones=[1, 2]),
    'OneCycle': dict(eta_max=0.1, total_steps=20),
    'Poly': dict(power=2, eta_min=1e-5, end=3),
    'ReduceOnPlateau': None,  # by scores: a test of its own
    'Step': dict(step_size=2, gamma=0.5),
}
ENDINGS = ('ParamScheduler', 'Momentum', 'LR')
WAYS = (
    dict(by_epoch=True),
    dict(by_epoch=False),
    dict(by_epoch=True, convert_to_iter_based=True),
)


def kind_of(name):
    return next(name.removesuffix(end) for end in ENDINGS if name.endswith(end))


def said(case):
    way = 'epochs' if case['by_epoch'] else 'steps'
    way = 'converted' if case.get('convert_to_iter_based') else way
    return f'{case["type"].removeprefix("mmengine.")}-{way}'


def cases():
    for name in sorted(PARAM_SCHEDULERS.module_dict):
        settings = KINDS[kind_of(name)]
        if settings is not None:
            generic = dict(param_name='lr') if name.endswith('ParamScheduler') else {}
            for way in WAYS:
                case = dict(type=f'mmengine.{name}', **settings, **generic, **way)
                quick = name.endswith('LR') or (name.endswith('Momentum') and way == WAYS[0])
                yield pytest.param(case, id=said(case), marks=[] if quick else pytest.mark.slow)


def test_every_scheduler_of_mmengine_is_tried():
    names = list(PARAM_SCHEDULERS.module_dict)
    assert {kind_of(name) for name in names} == KINDS.keys()
    assert len(names) == 29


@HOOKS.register_module()
class RecordRates(Hook):
    """Appends what each step is made with to a file: learning rate and betas."""

    priority = 'VERY_HIGH'

    def __init__(self, file):
        self.file = file

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        group = runner.optim_wrapper.param_groups[0]
        with open(self.file, 'a') as file:
            file.write(json.dumps([runner.iter, group['lr'], group['betas']]) + '\n')


def read(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


class Toy(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, x, mode='loss'):
        return dict(loss=self.layer(x).sum())


def of_mmengine(folder, scheduler, epochs=EPOCHS):
    """The series of mmengine's runner and loop, with so many batches an epoch."""
    file = folder / 'theirs.jsonl'
    runner = Runner(
        model=Toy(),
        work_dir=str(folder / 'theirs'),
        experiment_name=folder.name,
        train_dataloader=dict(
            dataset=[dict(x=torch.ones(1)) for _ in range(STEPS)],
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
            batch_size=1,
            num_workers=0,
        ),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
        param_scheduler=scheduler,
        custom_hooks=[RecordRates(file)],
        default_hooks=dict(checkpoint=None, logger=None),
        default_scope='mmengine',
        log_level='ERROR',
    )
    runner.train()
    return read(file)


def ours_config(folder, scheduler, epochs=EPOCHS, **changes):
    config = training_config(
        folder,
        PROJECTOR,
        order=[0, 1, 2, 3, 0, 1, 2],  # a micro-batch is left over in each epoch
        batch_size=1,
        epochs=epochs,
        param_scheduler=scheduler,
        **changes,
    )
    config.custom_imports.imports.append('tests.test_training.test_schedulers')
    config.optim_wrapper.accumulative_counts = 2
    config.custom_hooks.append(dict(type='mmllava.RecordRates', file=str(folder / 'rates.jsonl')))
    return config


@pytest.mark.parametrize('scheduler', list(cases()))
def test_the_series_is_that_of_mmengines_own_runner(tmp_path, scheduler):
    assert train(ours_config(tmp_path, scheduler), tmp_path) == 0
    ours = read(tmp_path / 'rates.jsonl')
    assert len(ours) == EPOCHS * STEPS
    assert ours == of_mmengine(tmp_path, scheduler)
    moved = {json.dumps(values) for _, *values in ours}
    assert len(moved) > 1 or not scheduler['by_epoch']


CHAIN = [
    dict(type='LinearLR', by_epoch=True, convert_to_iter_based=True, start_factor=0.1, end=1),
    dict(type='CosineAnnealingLR', by_epoch=True, T_max=3, begin=1, end=4),
    dict(type='StepMomentum', by_epoch=True, step_size=2, gamma=0.9),
    dict(type='ExponentialLR', by_epoch=False, gamma=0.99, begin=2, end=9),
]


def test_several_schedulers_move_as_in_mmengines_runner(tmp_path):
    assert train(ours_config(tmp_path, CHAIN), tmp_path) == 0
    assert read(tmp_path / 'rates.jsonl') == of_mmengine(tmp_path, CHAIN)


def resumed():
    yield pytest.param(CHAIN, id='chain')
    for case in cases():
        (scheduler,) = case.values
        if case.id.endswith('LR-epochs'):
            quick = 'OneCycle' in case.id or 'MultiStep' in case.id
            yield pytest.param(scheduler, id=case.id, marks=[] if quick else pytest.mark.slow)


@pytest.mark.slow
@pytest.mark.parametrize('scheduler', list(resumed()))
def test_a_resumed_run_keeps_the_series_to_the_bit(tmp_path, scheduler):
    """Stopped in the middle of an epoch, and right at the end of one."""
    config = ours_config(tmp_path, scheduler)
    config.default_hooks.checkpoint.interval = 1
    assert train(config, tmp_path) == 0
    whole, learned = read(tmp_path / 'rates.jsonl'), losses(tmp_path)
    for last in (2 * STEPS, STEPS + 1):
        for step in range(last + 1, EPOCHS * STEPS + 1):
            shutil.rmtree(tmp_path / f'iter_{step}')
        (tmp_path / 'rates.jsonl').unlink()
        assert train(config, tmp_path, '--resume') == 0
        assert read(tmp_path / 'rates.jsonl') == whole[last:]
        assert losses(tmp_path) == learned


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['ReduceOnPlateauLR', 'ReduceOnPlateauMomentum'])
def test_a_rate_that_follows_a_score_is_resumed_with_it(data, tmp_path, kind):  # noqa: F811
    """From the checkpoint of a step and from the best one: the val loop counts once."""
    scores = [3.0, 2.0, 1.0]
    plateau = dict(
        type=kind, monitor='eval/score', rule='greater', factor=0.5, patience=0, by_epoch=True
    )
    config = validating(
        tmp_path, data, dict(type='mmllava.Scripted', scores=scores), save_best='eval/score'
    )
    config.param_scheduler = plateau
    config.custom_imports.imports.append('tests.test_training.test_schedulers')
    file = tmp_path / 'rates.jsonl'
    config.custom_hooks.append(dict(type='mmllava.RecordRates', file=str(file)))
    config.default_hooks.checkpoint.max_keep_ckpts = -1
    assert train(config, tmp_path) == 0
    whole = read(file)
    assert [w[1] if kind.endswith('LR') else w[2][0] for w in whole] == pytest.approx(
        [r * f for r in [1e-3 if kind.endswith('LR') else 0.9] for f in (1, 1, 1, 1, 0.5, 0.5)]
    )
    run = tmp_path / 'run'
    for last in (4, 2):  # 2 alone is the best one
        for step in range(last if last == 2 else last + 1, 7):
            shutil.rmtree(run / f'iter_{step}', ignore_errors=True)
        file.unlink()
        config.val_evaluator.scores = scores[last // 2 - 1 :]
        assert train(config, tmp_path, '--resume') == 0
        assert read(file) == whole[last:]


def test_auto_scale_lr_counts_accumulated_micro_batches(tmp_path):
    """A step learns 2 x 1 samples, and the rate is written for 8."""
    config = ours_config(
        tmp_path, None, epochs=1, auto_scale_lr=dict(enable=True, base_batch_size=8)
    )
    assert train(config, tmp_path) == 0
    assert {rate for _, rate, _ in read(tmp_path / 'rates.jsonl')} == {1e-3 / 4}
