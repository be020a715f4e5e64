"""A checkpoint of a run: what was trained, for use, and what resuming needs.

A folder ``iter_N`` that appears whole or not at all:

- ``model.safetensors``: what training changed, in the original's names; all weights
  where the language model was trained;
- ``base.json``: which base the rest comes from (not where all weights are inside);
- ``adapter_model.safetensors``, ``adapter_config.json``: LoRA, as PEFT writes it;
- ``config.json``, the model as LLaVA's own code has it, the tokenizer's files, and
  ``config.py``, the whole config;
- ``resume.pth``: optimizer, schedules, random numbers, the step.
"""

import json
import os
import pickle
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mmllava.checkpoints.layouts.keymaps import TOWER, is_linear, to_original
from mmllava.checkpoints.layouts.partial import (
    ADAPTER_FILE,
    ADAPTER_PREFIX,
    BASE_FILE,
    fingerprint,
)
from mmllava.checkpoints.storage.atomic import atomic_output, is_over
from mmllava.checkpoints.storage.hub import TOKENIZER_FILES, is_local
from mmllava.checkpoints.storage.reader import read_json
from mmllava.errors import CheckpointError
from mmllava.models.fingerprints import find_base
from mmllava.training.fsdp import shard_like
from mmllava.training.lora import adapter_config, is_adapter, plain_name

WEIGHTS_FILE, RESUME_FILE = 'model.safetensors', 'resume.pth'
CONFIG_FILE, CARD_FILE = 'config.py', 'config.json'
_STEP = re.compile(r'(?:best_.+_)?iter_(\d+)')
_STATE = (
    'step',
    'seed',
    'shape',
    'data',
    'settings',
    'tower',
    'optimizer',
    'schedules',
    'random',
    'info',
)


def trained_tensors(model: nn.Module) -> dict[str, dict[str, Tensor]]:
    """The tensors that a checkpoint holds: file name -> name in it -> tensor.

    All of a model whose language model is trained; else what is trained, and projector
    and newline in any case, since no base may have them. A whole model with a tower of its own
    has the norm after the tower's last block too, as PyTorch begins one: LLaVA never reads
    it, and other programs want it to be there.
    """
    parameters = dict(model.named_parameters())
    whole = all(p.requires_grad for n, p in parameters.items() if n.startswith('language.'))
    tower = any(p.requires_grad for n, p in parameters.items() if n.startswith('vision_tower.'))
    always = ('projector.', 'image_newline') + ('vision_tower.',) * tower
    weights, adapter, linear = {}, {}, is_linear(parameters)
    for name, parameter in parameters.items():
        if is_adapter(name):
            own = plain_name(name).removeprefix('language.lm.')
            adapter[ADAPTER_PREFIX + own] = parameter.detach()
        elif whole or parameter.requires_grad or name.startswith(always):
            weights[to_original(name, 'mmllava', linear)] = parameter.detach()
    if whole and tower:
        width = model.vision_tower.hidden_size
        weights[f'{TOWER}post_layernorm.weight'] = torch.ones(width)
        weights[f'{TOWER}post_layernorm.bias'] = torch.zeros(width)
    return {WEIGHTS_FILE: weights} | ({ADAPTER_FILE: adapter} if adapter else {})


def write(
    folder: Path,
    model: nn.Module,
    files: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
    texts: Mapping[str, str],
    base: Mapping | None,
) -> None:
    """Writes a checkpoint folder; on a crash there is none, or the one that was there.

    Args:
        folder: ``iter_N``.
        model: a `Llava`.
        files: `trained_tensors`, whole.
        state: what resuming needs.
        texts: ``config.py`` and ``config.json``.
        base: as `describe_base` gives it.

    Raises:
        CheckpointError: the disk has too little room.
    """
    sizes = [t.numel() * t.element_size() for tensors in files.values() for t in tensors.values()]
    with atomic_output(folder, 4 * sum(sizes), may_replace=lambda path: None) as part:
        part.mkdir()
        for name, text in texts.items():
            (part / name).write_text(text, encoding='utf-8')
        for name, tensors in files.items():
            save_file({k: t.cpu().contiguous() for k, t in tensors.items()}, part / name)
            shutil.copymode(part / CONFIG_FILE, part / name)  # safetensors lets the owner alone in
        settings = adapter_config(model.language.lm)
        if settings:
            _write_json(part / 'adapter_config.json', settings)
        if base:
            _write_json(part / BASE_FILE, base)
        source = model.prompt_builder.tokenizer_folder
        for name in TOKENIZER_FILES:
            if source is not None and (source / name).is_file():
                shutil.copyfile(source / name, part / name)
        torch.save(dict(state), part / RESUME_FILE)


def to_json(value: Mapping[str, Any]) -> str:
    """The text of a JSON file."""
    return json.dumps(value, indent=2, ensure_ascii=False) + '\n'


def _write_json(file: Path, value: Mapping[str, Any]) -> None:
    file.write_text(to_json(value), encoding='utf-8')


def describe_base(model: nn.Module) -> dict[str, Any] | None:
    """Describes the base for ``base.json``: where the other weights are, and their fingerprint.

    None where the checkpoint will hold all weights, or the base is random.
    """
    if all(p.requires_grad for n, p in model.named_parameters() if n.startswith('language.')):
        return None
    source, entries = find_base(model)
    if source is None:
        return None
    settings = adapter_config(model.language.lm)
    scale = settings['lora_alpha'] / settings['r'] if settings else 1.0
    where = str(Path(source).resolve()) if is_local(source) else str(source)
    return dict(base=where, fingerprint=fingerprint(entries), adapter_scale=scale)


def read_base(folder: Path) -> dict[str, Any] | None:
    """Reads ``base.json`` of a checkpoint; None where all weights are inside."""
    file = folder / BASE_FILE
    return read_json(file) if file.is_file() else None


def read_weights(folder: Path, model: nn.Module) -> None:
    """Puts a checkpoint's tensors into a model that is prepared for the same stage.

    Raises:
        CheckpointError: it was written by another stage.
    """
    for name, tensors in trained_tensors(model).items():
        file = folder / name
        found = load_file(file) if file.is_file() else {}
        if {k: t.shape for k, t in found.items()} != {k: t.shape for k, t in tensors.items()}:
            raise CheckpointError(
                f'{file} holds {len(found)} tensors, and this stage trains {len(tensors)} others. '
                'Resume with the config that the run began with.'
            )
        for key, tensor in tensors.items():
            tensor.copy_(shard_like(found[key], tensor))


def read_state(folder: Path) -> dict[str, Any]:
    """Reads ``resume.pth`` without running code from it.

    Raises:
        CheckpointError: there is none, or it cannot be read.
    """
    file = folder / RESUME_FILE
    if not file.is_file():
        raise CheckpointError(
            f'{folder} has no {RESUME_FILE}, so no run can go on from it. Name an iter_N folder '
            'of a work folder.'
        )
    try:
        state = torch.load(file, map_location='cpu', weights_only=True, mmap=True)
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f'{file} cannot be read ({type(error).__name__}), so no run can go on from it. '
            'Move it away, and --resume goes on from the iter_N before it.'
        ) from error
    missing = [key for key in _STATE if key not in state]
    if missing:
        raise CheckpointError(
            f'{file} has no {", ".join(missing)}: another version of mmllava wrote it. Go on with '
            "that version, or begin a new run with model.init_cfg=dict(type='Pretrained', "
            f"checkpoint='{folder}')."
        )
    return state


def find_latest(work_dir: str | Path) -> Path | None:
    """The checkpoint of the most steps in a work folder, the best included; None if it has none.

    Read from the folder itself: a kill may come before ``last_checkpoint`` is written.
    """
    found = [
        (step_of(path.name), path.name, path)
        for path in Path(work_dir).iterdir()
        if _STEP.fullmatch(path.name) and (path / RESUME_FILE).is_file()
    ]
    return max(found)[2] if found else None


def remove(folder: Path) -> None:
    """Deletes a checkpoint; a kill leaves all of it, or none under its name.

    What is no checkpoint of a run, such as a file or a folder put there by hand, stays.
    """
    gone = folder.with_name(f'.{folder.name}.gone-{os.getpid()}')
    if (folder / RESUME_FILE).is_file() and not folder.is_symlink():
        os.rename(folder, gone)
        shutil.rmtree(gone, ignore_errors=True)


def remove_leftovers(work_dir: Path, alone: bool) -> None:
    """Deletes what killed runs left half written, or half deleted, in a work folder.

    A checkpoint that was to be replaced, and was not, has its name again.

    Args:
        work_dir: the folder.
        alone: no other run is there (`mmllava.training.resume.lock_work_dir`); else a part
            stays whose run may be.
    """
    for path in sorted(work_dir.glob('.*iter_*')):
        match = re.fullmatch(r'\.((?:best_.+_)?iter_\d+)\.(part|old|gone|lock)-\d+', path.name)
        if match is None or not (alone or is_over(path)):
            continue
        if match[2] == 'old' and not (work_dir / match[1]).exists():
            os.rename(path, work_dir / match[1])
        elif match[2] == 'lock':
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path, ignore_errors=True)


def step_of(name: str) -> int:
    """The step in the name of a checkpoint, the last number of ``iter_N``."""
    return int(name.rpartition('_')[2])
