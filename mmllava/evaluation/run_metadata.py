"""Protocol cards: how a score came about, in one JSON beside the predictions."""

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from mmllava.benchmarks.dataset import BenchmarkDataset
from mmllava.checkpoints.storage.checksums import sha256_of
from mmllava.errors import ConfigError
from mmllava.evaluation.prediction_store import SampleId, to_json
from mmllava.evaluation.runs import CARD, differences, read_card
from mmllava.models import Llava
from mmllava.models.prompt_builder import PromptBuilder
from mmllava.models.weights import weight_marks
from mmllava.prompts.conversation import ask
from mmllava.prompts.presets import PRESETS
from mmllava.prompts.render import render
from mmllava.version import __version__

PACKAGES = (
    *('torch', 'torchvision', 'transformers', 'numpy', 'pillow', 'sentencepiece'),
    *('onedl-mmengine', 'onedl-mmcv', 'onedl-mmpretrain', 'mmengine', 'mmcv', 'mmpretrain'),
)
#: settings that name a place on one machine, or are no protocol
_PLACES = ('data_root', 'data_prefix', 'img_root', 'name_or_path', 'pretrained', 'init_cfg')
_PLACES += ('pipeline', 'collect_device', 'out_dir', 'indices', 'model_id')
#: settings of a model that have a heading of their own in the card
_SAID = ('task', 'preset', 'template', 'prompt_tmpl', 'generation_cfg', 'dtype', 'bits')
_SAID += ('tokenizer', 'data_preprocessor')
TOKENIZER_FILES = ('tokenizer.model', 'tokenizer.json', 'added_tokens.json')
_SHOWN = 8  # differences that an error lists


def make_protocol(
    model: Llava,
    config: Mapping[str, Any],
    data: Any,
    asked: Sequence[tuple[SampleId, str | None]],
    fp16: bool = False,
) -> dict[str, Any]:
    """What decides the answers of a run, as plain values.

    Args:
        model: with its weights.
        config: of the run: ``model`` and ``test_dataloader``.
        data: the dataset.
        asked: (id, question) of every sample, in the set's order.
        fp16: mixed precision.
    """
    builder = model.prompt_builder
    preset = next((name for name, known in PRESETS.items() if known is builder.preset), None)
    dataset = config['test_dataloader']['dataset']
    protocol = dict(
        task=builder.task,
        prompt=dict(
            preset=preset,
            source=builder.preset.source,
            text=_prompt(builder),
        ),
        template=dict(name=builder.template_name, version=_digest(asdict(builder.template))),
        images=_image_mode(dataset.get('pipeline', ())),
        decoding=model.generation_cfg,
        precision=dict(
            dtype=str(next(model.language.parameters()).dtype).removeprefix('torch.'),
            bits=model.bits,
            autocast=fp16,
        ),
        weights=weight_marks(model),
        tokenizer=_tokenizer(model),
        model=_settings({k: v for k, v in config['model'].items() if k not in _SAID}),
        data=dict(
            _settings(dataset),
            samples=len(asked),
            questions=_digest(asked),
            files=_checksums(data),
            **_benchmark(data),
        ),
    )
    return json.loads(json.dumps(protocol, default=str))


def make_scoring(evaluator: Any, metrics: Sequence[Any]) -> dict[str, Any]:
    """How answers become scores: the metrics' settings, and their files' checksums."""
    found = evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]
    files: dict[str, str] = {}
    for metric in metrics:
        files |= _checksums(metric)
    return dict(metrics=[_settings(one) for one in found], files=files)


def environment(batch_size: int | None, processes: int) -> dict[str, Any]:
    """Machine, versions and commit: what should not change an answer, and may."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    return dict(
        mmllava=__version__,
        commit=commit(),
        python=platform.python_version(),
        packages=versions,
        device=device,
        batch_size=batch_size,
        processes=processes,
    )


def open_card(folder: str | Path, protocol: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The card of a run that begins or goes on.

    Raises:
        ConfigError: the folder's predictions were made by another protocol, or by one
            that is not known.
    """
    folder = Path(folder)
    if not (folder / CARD).exists():
        if any(folder.glob('predictions-*.jsonl')):
            raise ConfigError(
                f'{folder} holds predictions without the {CARD} that says how they were made. '
                'Move the folder away, or give another --work-dir.'
            )
        return dict(format=1, protocol=protocol, environments=[now])
    card = read_card(folder)
    found = differences(card['protocol'], protocol)
    if found:
        lines = [f'  {name}: {a!r} there, {b!r} now' for name, a, b in found[:_SHOWN]]
        lines += [f'  and {len(found) - _SHOWN} more'] if len(found) > _SHOWN else []
        raise ConfigError(
            f'{folder} holds a run of another protocol, and answers of two are not mixed:\n'
            + '\n'.join(lines)
            + '\nGive another --work-dir, or move that folder away.'
        )
    for name in ('counts', 'scores'):  # until it has ended again
        card.pop(name, None)
    if now not in card['environments']:
        card['environments'].append(now)
    return card


def commit() -> str | None:
    """The commit of the source tree, ``+`` after it if files were changed; None outside one."""
    root = Path(__file__).parents[2]

    def git(*args: str) -> str:
        done = subprocess.run(
            ['git', '-C', str(root), *args], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        if Path(git('rev-parse', '--show-toplevel')).resolve() != root.resolve():
            return None  # installed somewhere inside another repository
        changed = git('status', '--porcelain', '--untracked-files=no')
        return git('rev-parse', 'HEAD') + ('+' if changed else '')
    except (OSError, subprocess.CalledProcessError):
        return None


def _prompt(builder: PromptBuilder) -> str:
    """The whole prompt of a sample with one picture, ``{question}`` in a question's place."""
    if builder.prompt_tmpl is not None:
        return builder.prompt_tmpl
    text = '{question}' + builder.preset.suffix if builder.task == 'vqa' else builder.preset.prompt
    turns = ask(text, 1, builder.use_im_start_end, builder.template.mmtag)
    return ''.join(segment.text for segment in render(builder.template, turns))


def _benchmark(data: Any) -> dict[str, Any]:
    """How a benchmark's set is asked, and a hash of its answers: some are in many files."""
    if not isinstance(data, BenchmarkDataset):
        return {}
    return dict(protocol=asdict(data.protocol), truths=_digest([i.truth for i in data.items]))


def _tokenizer(model: Llava) -> dict[str, str]:
    """The checksums of its files; reads it, so that a missing one is known at once."""
    words = model.tokenizer
    files = (Path(model.prompt_builder.tokenizer_folder, name) for name in TOKENIZER_FILES)
    kind = dict(type=type(words).__name__)
    return kind | {file.name: sha256_of(file)[:16] for file in files if file.is_file()}


def _image_mode(pipeline: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How pictures are prepared: the settings of the steps that do it."""
    found: dict[str, Any] = {}
    for step in pipeline:
        kind = str(step['type']).split('.')[-1]
        if kind in ('LoadImage', 'LoadImageFromFile', 'PackInputs'):
            found |= {k: step[k] for k in ('exif', 'color_type', 'imdecode_backend') if k in step}
        else:
            found |= {k: v for k, v in step.items() if k != 'type'}
            found['step'] = kind
    return found


def _settings(config: Any) -> Any:
    """A config's settings, without places on this machine, sorted."""
    if isinstance(config, Mapping):
        keys = (key for key in sorted(config, key=str) if key not in _PLACES)
        plain = {str(key): _settings(config[key]) for key in keys if not _is_file(key)}
        return plain
    if isinstance(config, (list, tuple)):
        return [_settings(value) for value in config]
    return config if isinstance(config, (str, int, float, type(None))) else str(config)


def _is_file(key: Any) -> bool:
    return str(key).endswith(('_file', 'files'))


def _checksums(owner: Any) -> dict[str, str]:
    """Name -> SHA-256 of the files that a dataset or a metric reads: ``*_file``, ``paths``."""
    values = vars(owner)
    paths = [value for key, value in values.items() if _is_file(key)]
    listed = values.get('paths')
    paths += listed if isinstance(listed, (list, tuple)) else []
    files = [Path(path) for path in paths if isinstance(path, (str, Path)) and str(path)]
    sums: dict[str, str] = {}
    for file in (file for file in files if file.is_file()):
        name = f'{file.parent.name}/{file.name}' if file.name in sums else file.name
        sums[name] = sha256_of(file)
    return sums


def _digest(value: Any) -> str:
    text = to_json(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
