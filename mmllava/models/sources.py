"""Floor 2. Where a component's sizes and files come from: a config, a folder, or the hub."""

import json
from pathlib import Path
from typing import Any

from mmllava.errors import ConfigError

WEIGHT_FILES = ('config.json', '*.safetensors', '*.bin', '*.index.json')
_SUFFIXES = ('.pth', '.pt', '.bin', '.safetensors')
TOKENIZER_FILES = ('tokenizer*', 'added_tokens.json', 'special_tokens_map.json')


def find_folder(name_or_path: str | Path, patterns: tuple[str, ...]) -> Path:
    """A local folder, or the hub's copy of one.

    Args:
        name_or_path: local folder, or hub id ``org/name``.
        patterns: which files a hub copy needs, such as ``*.json``.

    Raises:
        ConfigError: neither is there.
    """
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        return folder
    name = str(name_or_path)
    if not is_hub_id(name):
        raise ConfigError(
            f"there is no folder '{name}', and it is no hub id (org/name) either. "
            'Give a folder that exists.'
        )
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=list(patterns)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ConfigError(
            f"'{name}' is no local folder, and the hub did not give it "
            f'({type(error).__name__}). Give a local folder in its place.'
        ) from error


def is_hub_id(name: str) -> bool:
    """Whether a name has the form ``org/name``."""
    return name.count('/') == 1 and not name.startswith(('.', '/', '~'))


def find_checkpoint(name_or_path: str | Path) -> Path:
    """A weight file or folder; a hub id's folder is fetched.

    What is neither comes back as it is, for the reader to name.

    Raises:
        ConfigError: the hub did not give it.
    """
    path = Path(name_or_path).expanduser()
    name = str(name_or_path)
    if path.exists() or path.suffix in _SUFFIXES or not is_hub_id(name):
        return path
    return find_folder(name, (*WEIGHT_FILES, *TOKENIZER_FILES))


def read_config(name_or_path: str | Path) -> dict[str, Any]:
    """The ``config.json`` of a folder or hub id.

    Raises:
        ConfigError: there is none, or it is not JSON.
    """
    file = find_folder(name_or_path, ('config.json',)) / 'config.json'
    try:
        return json.loads(file.read_text(encoding='utf-8'))
    except OSError as error:
        raise ConfigError(
            f'no config.json in {file.parent}, so the sizes cannot be read there. Write them '
            'into the config, or give a folder that has one.'
        ) from error
    except json.JSONDecodeError as error:
        raise ConfigError(f'{file} is not JSON ({error}). Copy it again.') from error


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
