"""Puts a model into the config of a benchmark: any benchmark runs with any model."""

import copy
import re
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from mmllava.apis.mmpretrain_patch import ModelHub, list_models
from mmllava.benchmarks.protocols import get_protocol
from mmllava.benchmarks.registry import get_benchmark
from mmllava.checkpoints.storage.hub import fetch
from mmllava.errors import CheckpointError, ConfigError, unknown_name
from mmllava.models.detect import config_from_checkpoint

_SUFFIXES = ('.py', '.pth', '.safetensors')
_TYPES = ('BenchmarkDataset', 'mmllava.BenchmarkDataset')


def is_benchmark(cfg: Config) -> bool:
    """Tells whether a config tests on a `BenchmarkDataset`."""
    loader = cfg.get('test_dataloader') or {}
    return (loader.get('dataset') or {}).get('type') in _TYPES


def name_run(model: str | None, checkpoint: str) -> str:
    """Names the results of a model after the model, or after its checkpoint's file or folder.

    The name of a training step (``iter_100``, ``checkpoint-100``) is prefixed with the run's.
    """
    path = Path(model or checkpoint)
    if model is None and path.exists():
        path = path.resolve()  # "." has a name too
    name = path.stem if path.suffix in _SUFFIXES else path.name
    if re.fullmatch(r'(best_.+_)?iter_\d+|checkpoint-\d+', name) and path.parent.name:
        name = f'{path.parent.name}_{name}'
    return name.encode(errors='replace').decode()  # file names may not be UTF-8; reports are


def add_model(cfg: Config, model: str | None, checkpoint: str, tower: str | None = None) -> None:
    """Puts a model and its image preprocessing into a benchmark's config.

    Prompt and decoding become those of the dataset's preset.

    Args:
        cfg: of a benchmark; changed in place. A model that it has already stays if ``model``
            is None.
        model: name, such as ``llava-7b-v1.5``, or a config file. None: the model is detected
            from the checkpoint, a LLaVA folder.
        checkpoint: the weights.
        tower: CLIP, a folder or hub id, if ``model`` is None: replaces the one that the
            checkpoint's config.json names.

    Raises:
        ConfigError: no such model, a tower together with a model, or a config of another
            dataset.
        CheckpointError: ``model`` is None and the checkpoint is not a folder of a known model.
    """
    if not is_benchmark(cfg):
        raise ConfigError(
            '--model and --tower need a config of configs/benchmarks, and this one tests on '
            'another dataset. Leave them out: the config has its own.'
        )
    if model and tower:
        raise ConfigError(
            '--tower and --model exclude each other: a config names its own tower. Change it '
            'with --cfg-options model.vision_encoder.pretrained=PATH.'
        )
    dataset = cfg.test_dataloader.dataset
    protocol = get_protocol(dataset.benchmark, dataset.get('preset', 'llava'))
    if model:
        config, resize = _from_name(model)
    else:
        config, resize = _from_config(cfg) or _from_folder(checkpoint, tower)
    caption = get_benchmark(dataset.benchmark).caption
    config.task, config.preset = 'caption' if caption else 'vqa', protocol.preset
    config.generation_cfg = dict(protocol.generation)
    config.pop('prompt_tmpl', None)
    cfg.model = config
    dataset.pipeline = _pipeline(resize)


def _pipeline(resize: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        dict(type='mmllava.LoadImage', on_error='record'),
        resize,
        dict(
            type='mmpretrain.PackInputs',
            algorithm_keys=['question'],
            meta_keys=['sample_idx', 'question_id', 'image_id', 'img_path', 'ori_shape', 'error'],
        ),
    ]


def _from_name(model: str) -> tuple[Any, dict[str, Any]]:
    """Returns model and CLIPResize of a config, given its path or its model's name."""
    if model.endswith('.py'):
        if not Path(model).is_file():
            raise ConfigError(f'no config file at {model}; check the path given as --model.')
        cfg = Config.fromfile(model)
    else:
        known = set(list_models('llava-'))
        name = model.lower() if model.lower() in known else f'{model.lower()}_vqa'
        if name not in known:
            raise unknown_name('model', model, {n.rsplit('_', 1)[0] for n in known})
        cfg = ModelHub.get(name).config
    result = _from_config(cfg)
    if result is None:
        raise ConfigError(
            f'{model} has no model with a CLIPResize in its test_dataloader; expected a config '
            'such as those of configs/llava.'
        )
    return result


def _from_config(cfg: Config) -> tuple[Any, dict[str, Any]] | None:
    """Returns model and CLIPResize of a config, None if it lacks one of them."""
    pipeline = (cfg.get('test_dataloader') or {}).get('dataset', {}).get('pipeline') or []
    steps = [dict(step) for step in pipeline if str(step.get('type')).endswith('CLIPResize')]
    if not cfg.get('model') or not steps:
        return None
    model = copy.deepcopy(cfg.model)
    model.pop('generation_cfg', None)  # the preset's is used instead
    return model, steps[0]


def _from_folder(checkpoint: str, tower: str | None) -> tuple[Any, dict[str, Any]]:
    """Returns model and CLIPResize that are detected from a LLaVA folder."""
    path = fetch(checkpoint)
    if not path.is_dir():
        raise CheckpointError(
            f'{checkpoint} is a file, which does not describe its model. Name the model: '
            '--model llava-7b-v1.5, or --model CONFIG.'
        )
    found = config_from_checkpoint(path, tower)
    print_log('\n'.join([f'{checkpoint}:', *('  ' + r for r in found.reasons)]), logger='current')
    grid = {k: found.model[k] for k in ('image_grid_pinpoints',) if k in found.model}
    resize = dict(type='mmllava.CLIPResize', size=found.size_px, aspect=found.aspect, **grid)
    return Config(dict(model=found.model)).model, resize
