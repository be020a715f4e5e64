"""Decides who may train in a work folder, and whether a run may resume from a checkpoint there."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None

from mmengine.config import Config
from mmengine.dist import all_gather_object, broadcast_object_list, get_world_size

from mmllava.errors import CheckpointError, ConfigError
from mmllava.training import checkpoint
from mmllava.training.loop import StepLoop

#: What decides how a run learns.
_SETTINGS = (
    'stage',
    'strategy',
    'optim_wrapper',
    'param_scheduler',
    'model',
    'randomness.deterministic',
    'train_dataloader.sampler',
    'train_dataloader.dataset.pipeline',
)
#: What may change all the same: where things lie, what only use of the model asks for, and
#: what costs memory or time alone.
_FREE = (
    'stage.gradient_checkpointing',
    'model.init_cfg',
    'model.tokenizer',
    'model.task',
    'model.preset',
    'model.prompt_tmpl',
    'model.generation_cfg',
)
_PATHS = ('pretrained', 'name_or_path')
_LOCK_FILE = '.lock'
_HANDLES: dict[tuple[int, int], int] = {}  # of the locks of this process, by device and inode
_SHOWN = 3  # settings that an error names


def describe_run(
    config: Config, loop: StepLoop, processes: int, tower: str | None = None
) -> dict[str, Any]:
    """Collects the settings that must be unchanged for a resumed run to equal an uninterrupted one.

    Args:
        config: the run's.
        loop: with its data.
        processes: how many there are.
        tower: fingerprint of the vision tower's weights as the run began; `describe_base` has
            that of the language model's.
    """
    dataset = loop.dataloader.dataset
    digest = getattr(dataset, 'digest', None)
    return dict(
        shape=dict(
            processes=processes,
            batch_size=loop.dataloader.batch_size,
            samples=len(dataset),
            accumulate=loop.accumulate,
            steps_per_epoch=loop.steps_per_epoch,
            max_epochs=loop.max_epochs,
        ),
        data=digest() if digest else None,
        settings={
            name: value
            for key in _SETTINGS
            for name, value in _leaves(key, _get(config, key))
            if not _is_free(name)
        },
        tower=tower,
    )


def check_same(folder: Path, stored: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuses to go on with another run's batches or rates.

    Args:
        folder: the checkpoint.
        stored: what it holds, with ``seed`` and what `describe_run` gave.
        now: the same of this run.

    Raises:
        CheckpointError: names what differs.
    """
    if stored['shape'] != now['shape'] or stored['seed'] != now['seed']:
        raise CheckpointError(
            f'{folder} is of a run with {stored["shape"]} and seed {stored["seed"]}; this one '
            f'has {now["shape"]} and seed {now["seed"]}, so its batches would be others. Resume '
            'with the same config and the same number of processes.'
        )
    if stored['data'] != now['data']:
        raise CheckpointError(
            f'the training files are not those that {folder} has learned from: their digest is '
            f'{now["data"]}, expected {stored["data"]}. Put the old ones back, or begin a new run '
            f"with model.init_cfg=dict(type='Pretrained', checkpoint='{folder}')."
        )
    before, after = (
        {**run['settings'], 'the checkpoint of vision_encoder': str(run['tower'])}
        for run in (stored, now)
    )
    changed = sorted(k for k in {*before, *after} if before.get(k) != after.get(k))
    if changed:
        named = '; '.join(
            f'{k} was {before.get(k, "not there")} and is {after.get(k, "not there")}'
            for k in changed[:_SHOWN]
        )
        raise CheckpointError(
            f'{folder} was trained with other settings: {named}'
            f'{", ..." if len(changed) > _SHOWN else ""}. Resume with the config that it began '
            f'with, {folder / checkpoint.CONFIG_FILE}, or begin a new run with model.init_cfg=dict('
            f"type='Pretrained', checkpoint='{folder}')."
        )


def lock_work_dir(work_dir: Path) -> bool:
    """Keeps other runs, on other machines too, out of a work folder while this process lives.

    Gives False where that cannot be done: not every disk that machines share has locks.

    Raises:
        ConfigError: a run that is there holds it.
    """
    file = work_dir / _LOCK_FILE
    if fcntl is None:
        return False
    if file.exists() and _mark(file.stat()) in _HANDLES:
        return True  # to open it again, and close it, would let it go
    try:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:  # of another user
        return False
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        os.close(handle)
        raise ConfigError(
            f'a run that is not over yet trains in {work_dir}, and two would write over each '
            'other. Wait for its end or stop it, or name another folder with --work-dir.'
        ) from error
    except OSError:
        os.close(handle)
        return False
    _HANDLES[_mark(os.fstat(handle))] = handle
    return True


def _mark(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def seed_to_go_on(config: Config, work_dir: str) -> int | None:
    """The seed of the run that is resumed; None where there is none yet."""
    if not config.get('resume'):
        return None
    folder = find(config, work_dir)
    return checkpoint.read_state(folder)['seed'] if folder else None


def find(config: Config, work_dir: str) -> Path | None:
    """The checkpoint that a run is to go on from: the one named, or the latest.

    The first process says which, and all must see it. Every process must call it.

    Raises:
        CheckpointError: a process does not, or the work folder holds later checkpoints than
            the one named, which the next ``--resume`` would go on from.
    """
    named, latest = config.get('load_from'), checkpoint.find_latest(work_dir)
    found: list[Path | None] = [Path(named) if named else latest]
    broadcast_object_list(found)
    (folder,) = found
    blind = [rank for rank, sees in enumerate(_all_see(folder)) if not sees]
    if blind and len(blind) < get_world_size():
        raise CheckpointError(
            f'{folder} is not there for {len(blind)} of {get_world_size()} processes, the first of '
            f'them {blind[0]}. Put the work folder on a disk that all machines share, or copy '
            'the checkpoint to the same place on each.'
        )
    if named and latest is not None and (folder / checkpoint.RESUME_FILE).is_file():
        _check_latest(folder, latest)
    return folder


def _all_see(folder: Path | None) -> list[bool]:
    return all_gather_object(folder is None or folder.is_dir())


def _check_latest(folder: Path, latest: Path) -> None:
    """Refuses to write a second branch of a run into the first one's folder."""
    if latest.resolve().parent != folder.resolve().parent:
        raise CheckpointError(
            f'{latest.parent} holds {latest.name}, and {folder} lies elsewhere: two runs would '
            f'share a folder. Go on with {latest.name} by --resume alone, or name another folder '
            'with --work-dir.'
        )
    if checkpoint.step_of(latest.name) > checkpoint.read_state(folder)['step']:
        raise CheckpointError(
            f'{latest} is later than {folder}, and the next --resume would go on from it. Go on '
            'with it by --resume alone, move it and what else is later away, or name another '
            'folder with --work-dir.'
        )


def _is_free(name: str) -> bool:
    """Tells whether a setting may change in a resumed run."""
    own = name.startswith('model.') and name.rpartition('.')[2] in _PATHS
    return own or any(name == free or name.startswith(f'{free}.') for free in _FREE)


def _get(config: Any, key: str) -> Any:
    for part in key.split('.'):
        config = config.get(part) if hasattr(config, 'get') else None
    return config


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every plain value below a setting, with its dotted name."""
    if isinstance(value, Mapping):
        for key in value:
            yield from _leaves(f'{name}.{key}', value[key])
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _leaves(f'{name}.{number}', item)
    elif value is not None:
        yield name, str(value)
