"""Loads a checkpoint folder in the layout of LLaVA's authors, without a config."""

import inspect
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log

from mmllava.apis.mmpretrain_patch import get_model
from mmllava.checkpoints.storage.hub import fetch
from mmllava.errors import CheckpointError, ConfigError, unknown_name
from mmllava.models.detect import DetectedModel, config_from_checkpoint
from mmllava.models.llava import Llava

#: use of a model -> (task, preset), as in the names of the configs
TASKS = {
    'caption': ('caption', 'coco_short'),
    'vqa': ('vqa', 'vqa_short'),
    'chat': ('vqa', 'vqa_open'),
}
#: name of the bundled model
TINY = 'tiny'
#: folder of the bundled model: weights, tokenizer, config.json
WEIGHTS = Path(__file__).parents[1] / 'assets/llava-tiny'


def load(
    folder: str | Path,
    task: str = 'chat',
    tower: str | Path | None = None,
    device: str | torch.device | None = None,
    device_map: str | dict[str, Any] | None = None,
    **settings: Any,
) -> Llava:
    """Loads a released LLaVA folder; detects the model from its files and logs the reasons.

    Args:
        folder: local folder or hub id, in the authors' layout: v0 and v1-1 merged, v1.3, v1.5,
            v1.6. The folder's name does not matter. ``tiny`` is the bundled model, unless there
            is a folder of that name.
        task: ``chat`` (answers in sentences), ``vqa`` (in one word) or ``caption``.
        tower: CLIP, a folder or hub id, instead of the one that ``config.json`` names; needed
            offline for v1 and v1.5, whose folders do not contain it.
        device: ``cpu``, ``cuda``, ``cuda:1``; None is a GPU if there is one.
        device_map: instead of ``device``: ``auto`` distributes the model over GPUs and CPU.
        settings: of `Llava`, overriding the detected ones: ``template``, ``preset``,
            ``generation_cfg``, ``dtype``, ``bits``.

    Returns:
        A model for ``ChatSession(model)`` and ``inference_model(model, ...)``.

    Raises:
        CheckpointError: a checkpoint of another layout, with the command that converts it; or
            weights that do not fit.
        ConfigError: an unknown task or setting, or both device and device_map.
        DeviceError: a device that is not available.

    Example:
        >>> model = mmllava.load('weights/llava-v1.5-7b', tower='weights/clip-336')
        >>> mmllava.ChatSession(model).ask('What is it?', 'demo/cat-dog.png')
    """
    if task not in TASKS:
        raise unknown_name('task', task, TASKS)
    known = set(inspect.signature(load).parameters) | set(inspect.signature(Llava).parameters)
    for name in settings:  # before a misspelt tower= is reported as a missing tower
        if name not in known:
            raise unknown_name('setting', name, known - {'settings', 'unknown'})
    bundled = str(folder) == TINY and not Path(folder).exists()
    path = WEIGHTS if bundled else fetch(folder)
    if not path.is_dir():
        raise CheckpointError(
            f'{path} is a file, and a file does not describe its model. Name the folder with '
            'config.json, or use get_model(CONFIG, pretrained=FILE).'
        )
    found = config_from_checkpoint(path, tower)
    print_log('\n'.join([f'{folder}:', *('  ' + r for r in found.reasons)]), logger='current')
    if device is not None and device_map is not None:
        raise ConfigError(
            f'device={device!r} and device_map={device_map!r} exclude each other. Give one of them.'
        )
    if device_map is None and device is None:
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
    return get_model(
        _config(found, task, settings), pretrained=str(path), device=device, device_map=device_map
    )


def _config(found: DetectedModel, task: str, settings: dict[str, Any]) -> Config:
    """Builds the config for ``get_model``, like those of ``configs/llava``."""
    task, preset = TASKS[task]
    grid = {k: found.model[k] for k in ('image_grid_pinpoints',) if k in found.model}
    pipeline = [
        dict(type='mmllava.LoadImage'),
        dict(type='mmllava.CLIPResize', size=found.size_px, aspect=found.aspect, **grid),
        dict(
            type='mmpretrain.PackInputs',
            algorithm_keys=['question'],
            meta_keys=['image_id', 'img_path', 'ori_shape'],
        ),
    ]
    dataset = 'mmpretrain.COCOCaption' if task == 'caption' else 'mmpretrain.COCOVQA'
    return Config(
        dict(
            model={**found.model, 'task': task, 'preset': preset, **settings},
            test_dataloader=dict(dataset=dict(type=dataset, pipeline=pipeline)),
        )
    )
