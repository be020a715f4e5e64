"""Files read with reasons, and written whole or not at all."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmllava.errors import ConfigError, DataError


def write_text(file: Path, text: str) -> None:
    """Writes beside the file first; a kill leaves the old one or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f'.{file.name}.{os.getpid()}')
    try:
        beside.write_text(text, encoding='utf-8')
        os.replace(beside, file)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_json(file: Path, value: Any) -> None:
    write_text(file, json.dumps(value, indent=2, ensure_ascii=False) + '\n')


def write_lines(file: Path, rows: Iterable[Any]) -> None:
    """JSON lines."""
    write_text(file, ''.join(json.dumps(row, ensure_ascii=False) + '\n' for row in rows))


def claim(out: Path, tool: str, run: dict[str, Any], names: Iterable[str]) -> None:
    """Notes in ``out/run.json`` what the folder is of, before anything is written into it.

    Args:
        out: the folder.
        tool: the name of what writes.
        run: the settings that make it the same run, so that it may be written over.
        names: of the files that will be written.

    Raises:
        ConfigError: something else wrote them, or the same with other settings.
    """
    file = out / 'run.json'
    before = read_object(file) if file.exists() else {}
    mine = before.get('tool') == tool
    taken = [name for name in names if (out / name).exists()]
    if (taken and not mine) or (before and not mine):
        raise ConfigError(
            f'{out} holds files of something else ({(*taken, "run.json")[0]}). Name another '
            'folder with --out.'
        )
    other = [name for name in run if name in before and before[name] != run[name]]
    if other:
        raise ConfigError(
            f'{out} holds a run with other settings ({", ".join(other)}). Name another '
            'folder with --out; --cache may be shared.'
        )
    write_json(file, before | dict(tool=tool) | run)


def read_text(file: Path, expected: str = 'a text') -> str:
    """A text file.

    Raises:
        DataError: it cannot be read, or is empty.
    """
    try:
        text = file.read_text(encoding='utf-8')
    except OSError as error:
        raise DataError(f'cannot read {file}: {error.strerror}. Expected {expected}.') from error
    except ValueError as error:
        raise DataError(f'{file} is no text in UTF-8: {error}. Expected {expected}.') from error
    if not text.strip():
        raise DataError(f'{file} is empty, expected {expected}.')
    return text


def read_object(file: Path, expected: str = 'a JSON object') -> dict[str, Any]:
    """A file with one JSON object.

    Raises:
        DataError: it cannot be read, or is something else.
    """
    try:
        whole = _parse(read_text(file, expected))
    except (ValueError, RecursionError) as error:
        raise DataError(f'{file} is not JSON: {error}. Expected {expected}.') from error
    if not isinstance(whole, dict):
        raise DataError(f'{file} holds a JSON {type(whole).__name__}, expected {expected}.')
    return whole


def read_lines(file: Path) -> list[tuple[int, dict[str, Any]]]:
    """(line number, object) of JSON lines; empty lines are passed over.

    Raises:
        DataError: it cannot be read, has no line, or one that is no object.
    """
    rows = []
    for number, line in enumerate(read_text(file, 'JSON lines').split('\n'), 1):
        if not line.strip():
            continue
        try:
            row = _parse(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f'{file}, line {number} is not JSON: {error}.') from error
        if not isinstance(row, dict):
            raise DataError(f'{file}, line {number} is {line[:60]!r}, expected an object.')
        rows.append((number, row))
    return rows


def _parse(text: str) -> Any:
    """JSON whose texts can be written again: no half of a surrogate pair is among them."""
    whole = json.loads(text)
    if '\\ud' in text or '\\uD' in text:
        json.dumps(whole, ensure_ascii=False).encode()
    return whole
