"""Floor 3. Whether a run may go on from a checkpoint: what must be as it was, and the seed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmllava.errors import CheckpointError
from mmllava.training import saving
from mmllava.training.loop import StepLoop

#: What decides how a run learns; paths may change, and how many workers read.
_SETTINGS = (
    'stage',
    'strategy',
    'optim_wrapper',
    'param_scheduler',
    'model.max_tokens',
    'train_dataloader.sampler',
    'train_dataloader.dataset.template',
    'train_dataloader.dataset.pipeline',
)
_SHOWN = 3  # settings that an error names


def describe_run(config: Config, loop: StepLoop, processes: int) -> dict[str, Any]:
    """What must be the same for a resumed run to learn what an undisturbed one would.

    Args:
        config: the run's.
        loop: with its data.
        processes: how many there are.
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
            name: value for key in _SETTINGS for name, value in _leaves(key, _get(config, key))
        },
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
    before, after = stored['settings'], now['settings']
    changed = sorted(k for k in {*before, *after} if before.get(k) != after.get(k))
    if changed:
        named = '; '.join(
            f'{k} was {before.get(k, "not there")} and is {after.get(k, "not there")}'
            for k in changed[:_SHOWN]
        )
        raise CheckpointError(
            f'{folder} was trained with other settings: {named}'
            f'{", ..." if len(changed) > _SHOWN else ""}. Resume with the config that it began '
            f'with, {folder / saving.CONFIG_FILE}, or begin a new run with model.init_cfg=dict('
            f"type='Pretrained', checkpoint='{folder}')."
        )


def seed_to_go_on(config: Config, work_dir: str) -> int | None:
    """The seed of the run that is resumed; None where there is none yet."""
    if not config.get('resume'):
        return None
    folder = find(config, work_dir)
    return saving.read_state(folder)['seed'] if folder else None


def find(config: Config, work_dir: str) -> Path | None:
    """The checkpoint that a run is to go on from: the one named, or the latest."""
    named = config.get('load_from')
    return Path(named) if named else saving.find_latest(work_dir)


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
