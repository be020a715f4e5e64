"""Builds the metadata of a run (``run.json``): its protocol, scoring and environments."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from mmllava.benchmarks.dataset import BenchmarkDataset
from mmllava.checkpoints.storage.hub import TOKENIZER_FILES
from mmllava.errors import ConfigError
from mmllava.evaluation.prediction_store import SampleId
from mmllava.evaluation.runs import METADATA, differences, read_metadata
from mmllava.io import dump_json, provenance, sha256_of
from mmllava.models import Llava
from mmllava.models.fingerprints import weight_marks
from mmllava.models.prompt_builder import PromptBuilder
from mmllava.prompts.conversation import ask
from mmllava.prompts.presets import PRESETS
from mmllava.prompts.render import render
from mmllava.version import __version__

PACKAGES = (
    *('torch', 'torchvision', 'transformers', 'numpy', 'pillow', 'sentencepiece'),
    *('onedl-mmengine', 'onedl-mmcv', 'onedl-mmpretrain', 'mmengine', 'mmcv', 'mmpretrain'),
)
#: settings that are paths on one machine, or do not affect answers
_PLACES = ('data_root', 'data_prefix', 'img_root', 'name_or_path', 'pretrained', 'init_cfg')
_PLACES += ('pipeline', 'collect_device', 'out_dir', 'indices', 'model_id')
#: settings of a model that have a field of their own in the protocol
_OWN_FIELD = ('task', 'preset', 'template', 'prompt_tmpl', 'generation_cfg', 'dtype', 'bits')
_OWN_FIELD += ('tokenizer', 'data_preprocessor')
_MAX_SHOWN = 8  # differences that an error lists


def make_protocol(
    model: Llava,
    config: Mapping[str, Any],
    data: Any,
    questions: Sequence[tuple[SampleId, str | None]],
    fp16: bool = False,
) -> dict[str, Any]:
    """Collects every setting that affects the answers of a run, as plain values.

    Args:
        model: with its weights.
        config: of the run: ``model`` and ``test_dataloader``.
        data: the dataset.
        questions: (id, question) of every sample, in the order of the dataset.
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
        tokenizer=describe_tokenizer(model),
        model=_settings({k: v for k, v in config['model'].items() if k not in _OWN_FIELD}),
        data=dict(
            _settings(dataset),
            samples=len(questions),
            questions=_digest(questions),
            files=_checksums(data),
            **_benchmark(data),
        ),
    )
    return json.loads(json.dumps(protocol, default=str))


def make_scoring(evaluator: Any, metrics: Sequence[Any]) -> dict[str, Any]:
    """Collects what affects the scores of given answers: settings and files of the metrics."""
    configs = evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]
    files: dict[str, str] = {}
    for metric in metrics:
        files |= _checksums(metric)
    return dict(metrics=[_settings(config) for config in configs], files=files)


def environment(batch_size: int | None, processes: int) -> dict[str, Any]:
    """Collects machine, versions and commit, which should not change an answer but may."""
    made = provenance(*PACKAGES)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else made['machine']
    session = dict(device=device, batch_size=batch_size, processes=processes)
    return dict(mmllava=__version__, **made, **session)


def open_metadata(
    folder: str | Path, protocol: dict[str, Any], now: dict[str, Any]
) -> dict[str, Any]:
    """Returns the metadata of a run that starts in a folder or resumes there.

    Args:
        folder: work folder of the run.
        protocol: of `make_protocol`.
        now: `environment` of this session.

    Raises:
        ConfigError: the folder's predictions are of another protocol, or of an unknown one.
    """
    folder = Path(folder)
    if not (folder / METADATA).exists():
        if any(folder.glob('predictions-*.jsonl')):
            raise ConfigError(
                f'{folder} holds predictions without the {METADATA} that describes their protocol. '
                'Move the folder away, or give another --work-dir.'
            )
        return dict(format=1, protocol=protocol, environments=[now])
    metadata = read_metadata(folder)
    changed = differences(metadata['protocol'], protocol)
    if changed:
        lines = [f'  {name}: {a!r} there, {b!r} now' for name, a, b in changed[:_MAX_SHOWN]]
        lines += [f'  and {len(changed) - _MAX_SHOWN} more'] if len(changed) > _MAX_SHOWN else []
        raise ConfigError(
            f'{folder} holds a run of another protocol, and answers of two are never mixed:\n'
            + '\n'.join(lines)
            + '\nGive another --work-dir, or move that folder away.'
        )
    for name in ('counts', 'scores'):  # they are written again at the end
        metadata.pop(name, None)
    if now not in metadata['environments']:
        metadata['environments'].append(now)
    return metadata


def _prompt(builder: PromptBuilder) -> str:
    """Renders the whole prompt of a sample with one image; ``{question}`` stands for a question."""
    if builder.prompt_tmpl is not None:
        return builder.prompt_tmpl
    text = '{question}' + builder.preset.suffix if builder.task == 'vqa' else builder.preset.prompt
    turns = ask(text, 1, builder.use_im_start_end, builder.template.mmtag)
    return ''.join(segment.text for segment in render(builder.template, turns))


def _benchmark(data: Any) -> dict[str, Any]:
    """Returns a benchmark's protocol and a hash of its references, which may be in many files."""
    if not isinstance(data, BenchmarkDataset):
        return {}
    return dict(protocol=asdict(data.protocol), truths=_digest([i.truth for i in data.items]))


def describe_tokenizer(model: Llava) -> dict[str, str]:
    """Returns class and file checksums of the tokenizer.

    Loads it, so that a missing one is an error before the run starts.
    """
    tokenizer = model.tokenizer
    files = (Path(model.prompt_builder.tokenizer_folder, name) for name in TOKENIZER_FILES)
    result = dict(type=type(tokenizer).__name__)
    return result | {file.name: sha256_of(file)[:16] for file in files if file.is_file()}


def _image_mode(pipeline: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the settings of the pipeline steps that prepare an image."""
    found: dict[str, Any] = {}
    for step in pipeline:
        name = str(step['type']).split('.')[-1]
        if name in ('LoadImage', 'LoadImageFromFile', 'PackInputs'):
            found |= {k: step[k] for k in ('exif', 'color_type', 'imdecode_backend') if k in step}
        else:
            found |= {k: v for k, v in step.items() if k != 'type'}
            found['step'] = name
    return found


def _settings(config: Any) -> Any:
    """Returns a config as plain values, sorted, without paths on this machine."""
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
    """Returns name -> SHA-256 of the files of a dataset or metric: ``*_file``, ``paths``."""
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
    text = dump_json(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
