"""Checks a training config before anything is built from it.

mmengine takes many settings that a run of ours would ignore, or die of after its last step.
Each setting works, or is refused here with what to write instead.
"""

import importlib.util
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import ValLoop
from mmengine.runner.priority import get_priority
from torch.utils.data import DataLoader

from mmllava.datasets.instruct import InstructDataset
from mmllava.errors import ConfigError
from mmllava.registry import (
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    LOOPS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    VISBACKENDS,
)
from mmllava.training.config_settings import (
    building,
    check_names,
    check_settings,
    check_value,
    is_number,
    resolve,
)
from mmllava.training.loop import StepLoop

_CHECKPOINTS = (
    "Write default_hooks.checkpoint=dict(type='mmllava.SafeCheckpointHook', interval=500, "
    'max_keep_ckpts=1), in steps; save_best and rule are as there.'
)
_TESTS_ONLY = 'it acts in tests, and does nothing for training. Leave it out.'
_CLASSIFIERS = "it is made for mmpretrain's image classifiers. Leave it out."
#: name of a hook -> None if it works, else why not and what to write. For its subclasses too.
HOOK_DECISIONS: dict[str, str | None] = {
    # mmengine's
    'CheckpointHook': f'it writes .pth files, from which no run goes on here. {_CHECKPOINTS}',
    'DistSamplerSeedHook': None,
    'EMAHook': 'its average would be scored, and neither saved nor resumed. Leave it out.',
    'EarlyStoppingHook': None,
    'EmptyCacheHook': None,
    'IterTimerHook': None,
    'LoggerHook': None,
    'NPUProfilerHook': "it needs an NPU; take dict(type='ProfilerHook').",
    'NaiveVisualizationHook': _TESTS_ONLY,
    'ParamSchedulerHook': None,  # the runner takes StepSchedulerHook
    'PrepareTTAHook': _TESTS_ONLY,
    'ProfilerHook': None,
    'RuntimeInfoHook': None,
    'SyncBuffersHook': 'training changes no buffer of this model. Leave it out.',
    # mmpretrain's
    'ClassNumCheckHook': _CLASSIFIERS,
    'DenseCLHook': _CLASSIFIERS,
    'PreciseBNHook': _CLASSIFIERS,
    'PrepareProtoBeforeValLoopHook': _CLASSIFIERS,
    'SetAdaptiveMarginsHook': _CLASSIFIERS,
    'SimSiamHook': _CLASSIFIERS,
    'SwAVHook': _CLASSIFIERS,
    'SwitchRecipeHook': _CLASSIFIERS,
    'VisualizationHook': _CLASSIFIERS,
    'WarmupParamHook': _CLASSIFIERS,
    # ours
    'DrawPredictionsHook': _TESTS_ONLY,
    'SafeCheckpointHook': None,
}
_MIXED = "InstructDataset mixes files itself: write dataset.ann_file=[dict(ann_file='a.json', "
#: dataset that wraps another -> what to write. Behind it, bad samples and changed files go unseen.
WRAPPER_ADVICE = {
    'ConcatDataset': f"{_MIXED}img_root='a'), dict(ann_file='b.json', img_root='b')].",
    'RepeatDataset': f'{_MIXED}weight=TIMES)].',
    'ClassBalancedDataset': f'{_MIXED}weight=2.5), ...], a weight for each file.',
}
#: backend of the visualizer -> the package that it needs
BACKEND_PACKAGES = {
    'LocalVisBackend': None,
    'TensorboardVisBackend': 'tensorboard',
    'WandbVisBackend': 'wandb',
    'MLflowVisBackend': 'mlflow',
    'ClearMLVisBackend': 'clearml',
    'NeptuneVisBackend': 'neptune',
    'DVCLiveVisBackend': 'dvclive',
    'AimVisBackend': 'aim',
}
_BFLOAT16 = "Set optim_wrapper.type='mmllava.BFloat16OptimWrapper'"
#: wrapper of the optimizer -> None if it works, else why not and what to write
WRAPPER_DECISIONS = {
    'OptimWrapper': None,
    'AmpOptimWrapper': None,  # on a GPU
    'BFloat16OptimWrapper': None,
    'ApexOptimWrapper': f'Apex is not used here. {_BFLOAT16}.',
    'ColossalAIOptimWrapper': f'Colossal-AI is not used here. {_BFLOAT16}.',
    'DeepSpeedOptimWrapper': f"DeepSpeed is not used here. {_BFLOAT16}, and strategy.type='FSDP'.",
}
_DEFAULT_HOOKS = [
    'runtime_info',
    'timer',
    'sampler_seed',
    'logger',
    'param_scheduler',
    'checkpoint',
]
_LOADER = (
    *('dataset', 'sampler', 'batch_size', 'num_workers'),
    *('collate_fn', 'pin_memory', 'drop_last', 'timeout'),
    *('worker_init_fn', 'multiprocessing_context', 'prefetch_factor', 'persistent_workers'),
    *('pin_memory_device', 'disable_subprocess_warning', 'num_batch_per_epoch', 'batch_sampler'),
)


def check_config(config: Config) -> None:
    """Refuses what cannot work, or would be ignored.

    Args:
        config: of a whole run.

    Raises:
        ConfigError: names the setting, and what to write.
    """
    _check_loops(config)
    _check_data(config.train_dataloader)
    _check_optimizer(config)
    _check_schedulers(config)
    _check_hooks(config)
    _check_backends(config.get('visualizer'))
    scale = config.get('auto_scale_lr')
    if scale is not None and not isinstance(scale, Mapping):
        raise ConfigError(
            f'auto_scale_lr is {scale!r}, expected dict(enable=True, base_batch_size=128).'
        )
    if scale is not None:
        check_names('setting of auto_scale_lr', scale, ('enable', 'base_batch_size'))
        if scale.get('enable') and not is_number(scale.get('base_batch_size'), 1):
            raise ConfigError(
                f'auto_scale_lr has base_batch_size={scale.get("base_batch_size")!r}, expected the '
                'samples of a step for which the learning rate is written.'
            )
    if config.get('activation_checkpointing'):
        raise ConfigError(
            'activation_checkpointing does not reach the language model. Write '
            'stage.gradient_checkpointing=True in its place.'
        )


def check_no_wrapper(dataset: Mapping[str, Any]) -> None:
    """Refuses a dataset that hides another one.

    Raises:
        ConfigError: names it, and what to write.
    """
    kind = resolve(DATASETS, dataset.get('type'))
    inner = dataset.get('dataset', dataset.get('datasets'))
    name = getattr(kind, '__name__', str(kind))
    wraps = isinstance(inner, (Mapping, list, tuple))
    if not wraps or (isinstance(kind, type) and issubclass(kind, InstructDataset)):
        return
    advice = WRAPPER_ADVICE.get(name, f'{_MIXED}weight=1)].')
    raise ConfigError(
        f'train_dataloader.dataset is a {name}, behind which bad samples would not be skipped and '
        f'changed files not be seen. {advice}'
    )


def _check_loops(config: Config) -> None:
    loop = config.train_cfg
    kind = loop.get('type') and resolve(LOOPS, loop['type'])
    if not (isinstance(kind, type) and issubclass(kind, StepLoop)):
        raise ConfigError(
            f'train_cfg is {dict(loop)}, and training here counts optimizer steps. Write '
            "train_cfg=dict(type='mmllava.StepLoop', max_epochs=1), without by_epoch."
        )
    check_settings('train_cfg', LOOPS, loop)
    for name in ('max_epochs', 'val_begin', 'val_interval', 'global_batch'):
        value = loop.get(name)
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ConfigError(f'train_cfg.{name} is {value!r}, expected a whole number from 1 on.')
    validation = config.get('val_cfg')
    if validation is not None:
        kind = check_settings('val_cfg', LOOPS, {'type': ValLoop, **validation})
        if not issubclass(kind, ValLoop):
            raise ConfigError(f'val_cfg has type={kind.__name__}. Write val_cfg=dict().')


def _check_data(loader: Mapping[str, Any]) -> None:
    for name in ('dataset', 'sampler', 'batch_size'):
        if loader.get(name) is None:
            raise ConfigError(f'train_dataloader has no {name}. Add it; docs/datasets.md has one.')
    if loader.get('num_batch_per_epoch') is not None:
        raise ConfigError(
            'train_dataloader.num_batch_per_epoch would hide bad samples and changed files. For a '
            f'part of the data, {_MIXED}weight=0.1)].'
        )
    if loader.get('batch_sampler') is not None:
        raise ConfigError(
            'train_dataloader.batch_sampler goes around the steps that training counts. Write '
            'batch_size and sampler alone; mmllava.ModalityLengthSampler groups samples by step.'
        )
    check_names('setting of train_dataloader', loader, _LOADER)
    for name, parameter in inspect.signature(DataLoader).parameters.items():
        if name in loader:
            check_value(f'train_dataloader.{name}', loader[name], parameter)
    for name, least in (('batch_size', 1), ('num_workers', 0)):
        value = loader.get(name, least)
        if not isinstance(value, int) or value < least:
            raise ConfigError(
                f'train_dataloader.{name} is {value!r}, expected a whole number from {least} on.'
            )
    check_no_wrapper(loader['dataset'])
    kind = check_settings('train_dataloader.sampler', DATA_SAMPLERS, loader['sampler'])
    if kind.__name__ == 'InfiniteSampler':
        raise ConfigError(
            'train_dataloader.sampler is an InfiniteSampler, and training counts passes over the '
            "data. Write dict(type='DefaultSampler', shuffle=True)."
        )


def _check_optimizer(config: Config) -> None:
    wrapper = config.optim_wrapper
    optimizer = wrapper.get('optimizer')
    if not isinstance(optimizer, Mapping):
        raise ConfigError(
            'optim_wrapper has no optimizer; several optimizers are not used here. Write '
            "optim_wrapper.optimizer=dict(type='AdamW', lr=2e-5)."
        )
    constructor = {'type': wrapper.get('constructor', 'DefaultOptimWrapperConstructor')}
    resolve(OPTIM_WRAPPER_CONSTRUCTORS, constructor['type'])
    settings = {'type': 'OptimWrapper', **wrapper}
    kind = check_settings(
        'optim_wrapper', OPTIM_WRAPPERS, settings, ('constructor', 'paramwise_cfg')
    )
    refused = WRAPPER_DECISIONS.get(kind.__name__)
    if refused:
        raise ConfigError(f'optim_wrapper is a {kind.__name__}: {refused}')
    half = kind.__name__ == 'AmpOptimWrapper' and config.get('strategy') is None
    if half and not torch.cuda.is_available():
        raise ConfigError(
            f'AmpOptimWrapper works on a GPU only, and none is there. {_BFLOAT16}, which works on '
            "a CPU too, or 'OptimWrapper'."
        )
    check_settings('optim_wrapper.optimizer', OPTIMIZERS, optimizer)
    rates = {'optimizer.lr': optimizer.get('lr')}
    for name, value in (wrapper.get('paramwise_cfg') or {}).items():
        if name.endswith('_lr'):
            rates[f'paramwise_cfg.{name}'] = value
    for name, value in rates.items():
        if not is_number(value, 0):
            raise ConfigError(f'optim_wrapper.{name} is {value!r}, expected a number, as 2e-5.')
    clip = wrapper.get('clip_grad')
    if clip is not None and not (
        isinstance(clip, Mapping)
        and all(is_number(clip[k], 0) for k in ('max_norm', 'clip_value') if k in clip)
    ):
        raise ConfigError(f'optim_wrapper.clip_grad is {clip!r}, expected dict(max_norm=1.0).')


def _check_schedulers(config: Config) -> None:
    given = config.get('param_scheduler')
    schedulers = [] if given is None else [given] if isinstance(given, Mapping) else given
    if isinstance(given, Mapping) and 'type' not in given:
        raise ConfigError(
            f'param_scheduler has {", ".join(given)} and no type, as for several optimizers; there '
            "is one. Write dict(type='mmllava.WarmupCosineLR', by_epoch=False), or a list."
        )
    if schedulers and 'param_scheduler' in _removed(config):
        raise ConfigError(
            'default_hooks.param_scheduler=None, so that no learning rate would move. Leave it '
            'out, or param_scheduler.'
        )
    for scheduler in schedulers:
        also = ('convert_to_iter_based',)
        kind = check_settings('param_scheduler', PARAM_SCHEDULERS, scheduler, also)
        _check_count(config, scheduler, kind)


def _check_count(config: Config, scheduler: Mapping[str, Any], kind: type) -> None:
    """Refuses a scheduler that would count epochs and never move, and counts that do not fit."""
    name, by_epoch = kind.__name__, scheduler.get('by_epoch', True)
    converts = hasattr(kind, 'build_iter_from_epoch')
    if scheduler.get('convert_to_iter_based') and not (by_epoch and converts):
        raise ConfigError(
            f'{name} has convert_to_iter_based=True and cannot be converted. Leave it out.'
        )
    if getattr(kind, 'need_val_args', False):
        if config.get('val_cfg') is None:
            raise ConfigError(
                f'{name} follows a score of the val loop, and there is none. Set val_dataloader, '
                'val_evaluator and val_cfg, or take another scheduler.'
            )
        return
    if not by_epoch or scheduler.get('convert_to_iter_based'):
        return
    if not converts:
        raise ConfigError(f'{name} counts steps. Write by_epoch=False.')
    epochs = config.train_cfg.get('max_epochs', 1)
    if len(_values_by_epoch(kind, scheduler, epochs)) == 1:
        raise ConfigError(
            f'{name} counts epochs and holds its first value in all {epochs} of them. Add '
            'convert_to_iter_based=True, which moves it with every step, or write by_epoch=False '
            'and begin, end and milestones in steps.'
        )


def _values_by_epoch(kind: type, scheduler: Mapping[str, Any], epochs: int) -> set[float]:
    """Collects the values that a scheduler gives a rate or momentum over the epochs of a run."""
    settings = {k: v for k, v in scheduler.items() if k not in ('type', 'convert_to_iter_based')}
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.5)
    with building(f'param_scheduler {kind.__name__}'):
        built = kind(optimizer, **{'end': epochs, **settings})
        values = {optimizer.param_groups[0][built.param_name]}
        for _ in range(epochs - 1):
            optimizer.step()
            built.step()
            values.add(optimizer.param_groups[0][built.param_name])
    return values


def _removed(config: Config) -> set[str]:
    return {name for name, hook in (config.get('default_hooks') or {}).items() if hook is None}


def _check_hooks(config: Config) -> None:
    default = {'param_scheduler': dict(type='mmllava.StepSchedulerHook')}
    default |= config.get('default_hooks') or {}
    unknown = sorted(_removed(config) - {*_DEFAULT_HOOKS})
    if unknown:
        raise ConfigError(
            f'default_hooks.{unknown[0]}=None removes nothing: mmengine has the default hooks '
            f'{", ".join(_DEFAULT_HOOKS)}. Leave it out.'
        )
    named = {f'default_hooks.{k}': v for k, v in default.items()}
    for number, hook in enumerate(config.get('custom_hooks') or []):
        named[f'custom_hooks[{number}]'] = hook
    kinds = []
    for where, hook in named.items():
        if hook is None or isinstance(hook, Hook):
            continue
        kind = _check_hook(where, hook)
        kinds += [parent.__name__ for parent in kind.__mro__]
        if 'EarlyStoppingHook' in kinds and config.get('val_cfg') is None:
            raise ConfigError(
                f'{where} is an EarlyStoppingHook, and there is no val loop to give its score. Set '
                'val_dataloader, val_evaluator and val_cfg, or leave it out.'
            )
    if 'checkpoint' in _removed(config) and 'SafeCheckpointHook' not in kinds:
        raise ConfigError(
            f'default_hooks.checkpoint=None: what was learned would be lost. {_CHECKPOINTS}'
        )
    if kinds.count('ParamSchedulerHook') > 1:
        raise ConfigError('two ParamSchedulerHooks would move each rate twice. Leave one out.')


def _check_hook(where: str, hook: Any) -> type:
    kind = check_settings(where, HOOKS, hook, ('priority',))
    names = [parent.__name__ for parent in kind.__mro__]
    refused = next((HOOK_DECISIONS[name] for name in names if name in HOOK_DECISIONS), None)
    if refused:
        raise ConfigError(f'{where} is a {names[0]}: {refused}')
    if 'priority' in hook:
        with building(f'{where}.priority'):
            get_priority(hook['priority'])
        if {'CheckpointHook', 'ParamSchedulerHook'} & {*names}:
            raise ConfigError(
                f'{where}.priority={hook["priority"]!r}: a checkpoint is written after all that '
                'belongs to its step. Leave it out.'
            )
    return kind


def _check_backends(visualizer: Mapping[str, Any] | None) -> None:
    backends = (visualizer or {}).get('vis_backends') or []
    for backend in [backends] if isinstance(backends, Mapping) else backends:
        kind = check_settings('visualizer.vis_backends', VISBACKENDS, backend)
        package = BACKEND_PACKAGES.get(kind.__name__)
        if package and importlib.util.find_spec(package) is None:
            raise ConfigError(
                f'visualizer.vis_backends has {kind.__name__}, and the package {package} is not '
                f'installed. `pip install {package}`, or leave it out.'
            )
