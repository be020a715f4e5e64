"""Floor 2. Where a component's sizes and files come from: a config, a folder, or the hub."""

import json
from pathlib import Path
from typing import Any

from mmllava.errors import ConfigError


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
    if name.startswith(('.', '/', '~')) or name.count('/') != 1:
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
