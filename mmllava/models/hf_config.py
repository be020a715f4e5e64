"""Where a component's sizes and files come from: a config, a folder, or the hub."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmllava.checkpoints.storage.hub import fetch, is_hub_id
from mmllava.checkpoints.storage.reader import read_json
from mmllava.errors import ConfigError

_SUFFIXES = ('.pth', '.pt', '.bin', '.safetensors')
TOKENIZER_FILES = ('tokenizer*', 'added_tokens.json', 'special_tokens_map.json')


def find_checkpoint(name_or_path: str | Path) -> Path:
    """A weight file or folder; a hub id's folder is fetched.

    What is neither comes back as it is, for the reader to name.

    Raises:
        CheckpointError: the hub did not give it.
    """
    path = Path(name_or_path).expanduser()
    if path.exists() or path.suffix in _SUFFIXES or not is_hub_id(str(name_or_path)):
        return path
    return fetch(name_or_path)


def read_config(name_or_path: str | Path) -> dict[str, Any]:
    """The ``config.json`` of a folder or hub id.

    Raises:
        CheckpointError: there is no such folder and the hub did not give it, or the
            file is not JSON.
        ConfigError: it has no ``config.json``.
    """
    file = fetch(name_or_path, ('config.json',)) / 'config.json'
    if not file.is_file():
        raise ConfigError(
            f'no config.json in {file.parent}, so the sizes cannot be read there. Write them '
            'into the config, or give a folder that has one.'
        )
    return read_json(file)


def plain_rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """A language model's ``config.json`` with ``rope_theta`` and ``rope_scaling``.

    transformers 5 writes both into ``rope_parameters`` and no longer by themselves.
    """
    rope = config.get('rope_parameters')
    if not isinstance(rope, dict):
        return dict(config)
    scaling = {key: value for key, value in rope.items() if key != 'rope_theta'}
    kind = scaling.get('rope_type', 'default')
    plain = dict(rope_scaling=None if kind == 'default' else scaling)
    if 'rope_theta' in rope:
        plain['rope_theta'] = rope['rope_theta']
    return {**config, **plain}


def pick_sizes(kind: str, given: dict[str, Any], read: dict[str, Any], needed: tuple) -> dict:
    """Sizes from a config, over those of a ``config.json``.

    Raises:
        ConfigError: a needed one is in neither.
    """
    sizes = {**read, **given}
    missing = [name for name in needed if sizes.get(name) is None]
    if missing:
        raise ConfigError(
            f'{kind} lacks {", ".join(missing)}. Write them into the config, or set '
            'name_or_path to a folder whose config.json has them.'
        )
    return sizes
