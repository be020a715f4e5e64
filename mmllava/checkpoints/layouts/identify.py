"""Identifies a checkpoint's layout by its tensor names and config.json, never by a file's name.

kind = identify('weights/some-folder')
print(kind.layout, kind.reason)

A layout is a way to name tensors. A folder's or a file's own name says nothing here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmllava.checkpoints.layouts.config_schema import read_config
from mmllava.checkpoints.layouts.delta import NORM, is_difference
from mmllava.checkpoints.layouts.partial import ADAPTER_CONFIG, BASE_FILE
from mmllava.checkpoints.storage.reader import (
    INDEXES,
    SINGLES,
    read_entries,
    read_json,
)
from mmllava.checkpoints.storage.tensor_entry import TensorEntry
from mmllava.errors import CheckpointError

#: layout -> what it is, for people.
LAYOUTS = {
    'delta': 'the published difference between LLaVA v0 or v1-1 and LLaMA',
    'original': "LLaVA's own names: v0 to v1.6, merged",
    'hf': "transformers' LlavaForConditionalGeneration or LlavaNextForConditionalGeneration",
    'mmpretrain': "mmpretrain's Llava: model.lang_encoder.*",
    'projector': 'the projector alone',
    'lora': 'a LoRA adapter, with or without non_lora_trainables.bin',
    'partial': 'a checkpoint of tools/train.py that holds only what was trained',
    'mmllava': "the parameter names of this package's model, as training saves them",
    'llama': 'a language model alone: a base',
    'clip': 'a CLIP vision tower',
}
#: Layouts that are read with the model that they belong to.
ON_A_BASE = ('delta', 'projector', 'lora', 'partial')
_ADAPTERS = ('adapter_model.safetensors', 'adapter_model.bin')
_PROJECTOR = 'mm_projector.bin'
_WORDS = 'embed_tokens.weight'
# The first layout of which a tensor matches; more telling patterns come first.
_TELLING = (
    ('lora', r'\.lora_(embedding_)?[AB](\.|$)'),
    ('mmllava', r'^(language\.lm|projector\.layers)\.'),
    ('mmpretrain', r'^model\.lang_encoder\.'),
    ('hf', r'^(model\.)?multi_modal_projector\.'),
    ('original', r'^model\.layers\.\d+\.'),
    ('projector', r'(^|\.)mm_projector\.'),
    ('clip', r'^vision_model\.'),
)
# config.json may say these of itself; null is a file without config.
_MODEL_TYPES = {
    'original': (None, 'llava', 'llava_llama', 'llava_mistral', 'llama', 'mistral'),
    'hf': (None, 'llava', 'llava_next'),
    'clip': (None, 'clip', 'clip_vision_model'),
}


@dataclass(frozen=True)
class Kind:
    """A checkpoint's layout and the reason for it.

    Args:
        layout: a key of ``LAYOUTS``.
        reason: one sentence: which tensors or config keys told.
        projector_depth: linear layers of the projector; 1 for v0 and v1, 2 from v1.5
            on, 0 without one.
        has_tower: whether a vision tower is inside.
        has_newline: whether v1.6's image_newline is inside.
        rows: of the word embedding; None without one.
        hidden: width of the language model; None where no tensor tells.
    """

    layout: str
    reason: str
    projector_depth: int
    has_tower: bool
    has_newline: bool
    rows: int | None
    hidden: int | None


def identify(path: str | Path) -> Kind:
    """Tells what a weight file or folder is, from headers and one small tensor.

    Raises:
        CheckpointError: if it cannot be read, or is nothing that is known here; says
            what was found, what was expected and what to do.
    """
    return kind_of(read_weights(path), path)


def weights_of(path: str | Path) -> Path:
    """The file or folder whose tensors count: of an adapter's folder, its adapter file.

    Raises:
        CheckpointError: if a folder holds a model and an adapter, or half of what training
            leaves.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    model = [n for n in (*INDEXES, *SINGLES) if (path / n).is_file()]
    adapter = [n for n in _ADAPTERS if (path / n).is_file()]
    if (path / BASE_FILE).is_file():
        if not model:
            raise CheckpointError(
                f'{path} has {BASE_FILE} and lacks {SINGLES[0]}, what tools/train.py trained '
                'beside that base. Copy the whole folder again.'
            )
        return path
    if model and adapter:
        raise CheckpointError(
            f'{path} holds a model ({model[0]}) and an adapter ({adapter[0]}); expected one of '
            'them. Move the one that is not meant to a folder of its own.'
        )
    if adapter:
        return path / adapter[0]
    if not model and (path / _PROJECTOR).is_file():
        return path / _PROJECTOR
    return path


def read_weights(path: str | Path) -> dict[str, TensorEntry]:
    """``read_entries`` of what ``weights_of`` names."""
    return read_entries(weights_of(path))


def kind_of(entries: Mapping[str, TensorEntry], path: str | Path) -> Kind:
    """``identify`` for tensors that are listed already; ``path`` is where they lie."""
    path = Path(path)
    layout, witness = _by_names(entries, path)
    file = weights_of(path)
    if layout != 'lora' and path.is_dir() and file.name in _ADAPTERS:
        raise CheckpointError(
            f'{file} holds {witness}, and no adapter (*.lora_A.weight). Files were renamed, or '
            'those of two runs are mixed; get them together again.'
        )
    config = read_config(path)
    projector = _find(entries, r'mm_projector\.|multi_modal_projector\.|^projector\.layers\.')
    reason = f'it holds {witness}'
    if layout in ('original', 'projector') and (path / BASE_FILE).is_file():
        layout, reason = 'partial', f'{reason} and, beside it, {BASE_FILE}'
    elif layout == 'original' and not projector:
        layout, reason = 'llama', f'{reason} and no projector'
    elif layout == 'original':
        layout, why = _delta_or_merged(entries, path)
        reason = f'{reason} and {projector[0]}; {why}'
    elif layout == 'lora' and file.name not in _ADAPTERS:
        raise CheckpointError(
            f'{path} holds {witness}, an adapter, where its model should be. Files were renamed, '
            f'or those of two runs are mixed; expected adapters in {_ADAPTERS[0]}.'
        )
    elif layout == 'projector':
        reason = f'{reason} and no layer of a language model'
    _check_config(layout, config, path)
    if 'model_type' in config:
        reason += f'; config.json says model_type {config["model_type"]}'
    words = _find(entries, rf'{_WORDS}$')
    last = [n for n in projector if len(entries[n].shape) == 2]
    hidden = _last_size(entries, words) or (entries[last[-1]].shape[0] if last else None)
    return Kind(
        layout=layout,
        reason=reason + '.',
        projector_depth=len(last),
        has_tower=bool(_find(entries, r'(^|\.)vision_(tower|model)\.')),
        has_newline=bool(_find(entries, r'(^|\.)image_newline$')),
        rows=entries[words[0]].shape[0] if words and layout != 'projector' else None,
        hidden=hidden,
    )


def _by_names(entries: Mapping[str, TensorEntry], path: Path) -> tuple[str, str]:
    """Gives (layout, the tensor that tells); 'original' may still be a delta or a base."""
    for layout, pattern in _TELLING:
        found = _find(entries, pattern)
        if found:
            if layout == 'lora':
                adapter_config(path, found[0])
            return layout, found[0]
    names = ', '.join(sorted(entries)[:3]) or 'no tensor'
    hint = ''
    if _find(entries, r'^transformer\.'):
        hint = ' LLaVA on MPT is not known here.'
    raise CheckpointError(
        f'{path} holds {names}{", ..." if len(entries) > 3 else ""}; expected the names of one of '
        f'{", ".join(LAYOUTS)}.{hint} Name a checkpoint of LLaVA, LLaMA or CLIP.'
    )


def _delta_or_merged(entries: Mapping[str, TensorEntry], path: Path) -> tuple[str, str]:
    """Gives (layout, why): a difference is told from a model by the size of one tensor."""
    if NORM not in entries:
        raise CheckpointError(
            f'{path} has a projector and no {NORM}, which tells a delta from a model. The '
            'checkpoint is incomplete; download it again.'
        )
    difference, size = is_difference(entries[NORM])
    if difference:
        return 'delta', f'{NORM} is {size:.3f} on average, a difference'
    return 'original', f'{NORM} is {size:.2f} on average, a whole model'


def _check_config(layout: str, config: Mapping[str, Any], path: Path) -> None:
    """Refuses a family of models that only looks like LLaVA."""
    known = _MODEL_TYPES.get('original' if layout in ('delta', 'original') else layout)
    if known and config.get('model_type') not in known:
        raise CheckpointError(
            f'{path}/config.json says model_type {config["model_type"]!r}; expected of layout '
            f'{layout}: {", ".join(k for k in known if k)}. This is another model than LLaVA v0 '
            'to v1.6 and cannot be converted here.'
        )


def _find(entries: Mapping[str, TensorEntry], pattern: str) -> list[str]:
    return [name for name in entries if re.search(pattern, name)]


def _last_size(entries: Mapping[str, TensorEntry], names: list[str]) -> int | None:
    return entries[names[0]].shape[-1] if names and entries[names[0]].shape else None


def adapter_config(path: str | Path, name: str) -> dict[str, Any]:
    """Reads the ``adapter_config.json`` of an adapter's folder.

    Args:
        path: the folder.
        name: of a tensor there, for the message.

    Raises:
        CheckpointError: there is none, or it cannot be read.
    """
    file = Path(path) / ADAPTER_CONFIG
    if not file.is_file():
        raise CheckpointError(
            f'{path} holds {name}, a LoRA adapter, but {ADAPTER_CONFIG} is not beside it; rank '
            "and scale stand only there. Name the adapter's whole folder."
        )
    return read_json(file)
