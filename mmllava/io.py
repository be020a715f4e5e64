"""Reads files with reasons and writes them whole or not at all.

The one place for text, JSON, JSON lines, atomic writes, paths that may not leave their folder,
SHA-256 and the commit of the source tree. What is read here can be written again: UTF-8, every
key once, no NaN, no lone surrogate.
"""

import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmllava.errors import DataError, MMLlavaError

__all__ = [
    'atomic_path',
    'dump_json',
    'git_commit',
    'parse_json',
    'provenance',
    'read_json',
    'read_json_lines',
    'read_records',
    'read_text',
    'resolve_below',
    'sha256_of',
    'type_name',
    'write_json',
    'write_json_lines',
    'write_text',
]

_TYPE_NAMES = {
    dict: 'an object',
    list: 'a list',
    str: 'a string',
    bool: 'true or false',
    int: 'a number',
    float: 'a number',
    type(None): 'null',
}
_LONE_SURROGATE = re.compile('[\ud800-\udfff]')
_SURROGATE_ESCAPE = re.compile(r'\\u[dD][89a-fA-F]')
_CHUNK_BYTES = 1 << 20
_ROOT = Path(__file__).parents[1]


def type_name(value: Any) -> str:
    """Returns the JSON name of a value's type, with its article: ``a list``."""
    return _TYPE_NAMES.get(type(value), type(value).__name__)


def read_text(
    path: str | Path, expected: str = 'a text file', error: type[MMLlavaError] = DataError
) -> str:
    """Reads a UTF-8 file; a byte order mark at its start is dropped.

    Args:
        path: of the file.
        expected: the content that the caller needs, as a noun phrase for the message.
        error: class of the error to raise.

    Raises:
        MMLlavaError: of class ``error``, if the file cannot be read or is not UTF-8.
    """
    try:
        return Path(path).read_text(encoding='utf-8-sig')
    except (OSError, ValueError) as reason:  # ValueError: not UTF-8, or a NUL in the path
        if isinstance(reason, OSError):
            what = f'cannot read {path}: {reason.strerror or reason}. Expected {expected}'
        else:
            what = f'{path} is not text in UTF-8: {reason}. Expected {expected}'
        raise error(f'{what}; check the path, or write the file again.') from reason


def parse_json(
    text: str | bytes,
    where: str | Path,
    error: type[MMLlavaError] = DataError,
    strict: bool = True,
) -> Any:
    """Parses one JSON document.

    Args:
        text: the document; bytes are UTF-8.
        where: file, or file and line, for the message.
        error: class of the error to raise.
        strict: refuse ``NaN``, ``Infinity`` and half of a surrogate pair, which Python writes;
            False for captions and what `dump_json` wrote, where half a pair costs one character.

    Raises:
        MMLlavaError: of class ``error``, if it is not JSON, a key stands twice in one object,
            a string has half a surrogate pair, or it is nested too deep.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode('utf-8-sig')
        value = json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant if strict else None,
        )
        if strict and _SURROGATE_ESCAPE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as reason:
        near = reason.object[max(reason.start - 60, 0) : reason.end]
        raise error(
            f'{where} has half of a surrogate pair, which UTF-8 cannot hold, after {near!r}. '
            'Correct that string.'
        ) from reason
    except RecursionError as reason:
        raise error(f'{where} is JSON nested too deep to be read. Write it flatter.') from reason
    except ValueError as reason:
        raise error(
            f'{where} is not JSON: {reason}. Correct it there; if the file was cut short, write or '
            'download it again.'
        ) from reason
    return value


def read_json(
    path: str | Path,
    kind: type | tuple[type, ...] = dict,
    expected: str | None = None,
    error: type[MMLlavaError] = DataError,
    strict: bool = True,
) -> Any:
    """Reads a JSON file that holds an object, or another type.

    Args:
        path: of the file.
        kind: Python type, or types, of the top-level value.
        expected: the content that the caller needs, as a noun phrase for the message;
            by default the name of ``kind``.
        error: class of the error to raise.
        strict: as in `parse_json`.

    Raises:
        MMLlavaError: of class ``error``, if it cannot be read, is not JSON, or holds
            another type.
    """
    kinds = kind if isinstance(kind, tuple) else (kind,)
    expected = expected or ' or '.join(_TYPE_NAMES.get(k, k.__name__) for k in kinds) + ' in JSON'
    value = parse_json(read_text(path, expected, error), path, error, strict)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise error(
            f'{path} holds {type_name(value)}, expected {expected}. Name another file, or write '
            'this one again.'
        )
    return value


def read_json_lines(
    path: str | Path, error: type[MMLlavaError] = DataError
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Reads a file of JSON lines, an object each; blank lines are skipped.

    Yields:
        (file and line number for messages, the object).

    Raises:
        MMLlavaError: of class ``error``, if the file cannot be read or a line is no object.
    """
    # Not splitlines: U+2028 may stand in a string.
    for number, line in enumerate(read_text(path, 'JSON lines', error).split('\n'), 1):
        if not line.strip():
            continue
        where = f'{path}: line {number}'
        record = parse_json(line, where, error)
        if not isinstance(record, dict):
            raise error(f'{where} holds {type_name(record)}, expected an object. Correct it.')
        yield where, record


def read_records(
    path: str | Path, error: type[MMLlavaError] = DataError
) -> list[tuple[str, dict[str, Any]]]:
    """Reads a file of JSON lines with at least one record, as `read_json_lines` does.

    Raises:
        MMLlavaError: of class ``error``, also if there is no record.
    """
    records = list(read_json_lines(path, error))
    if not records:
        raise error(f'{path} is empty, expected at least one record. Write or download it again.')
    return records


def resolve_below(
    folder: str | Path, name: str, where: str, error: type[MMLlavaError] = DataError
) -> str:
    """Joins the path that a file names to its folder; symbolic links are followed.

    Args:
        folder: that the path has to stay below.
        name: the path, relative to the folder or absolute.
        where: file and place that name it, for the message.
        error: class of the error to raise.

    Raises:
        MMLlavaError: of class ``error``, if the path leads out of the folder, as with ``..``,
            or has a NUL character.
    """
    if '\0' in name:
        raise error(f'{where} names {name!r}, which has a NUL character in it. Correct that path.')
    root, path = os.path.abspath(folder), os.path.join(folder, name)
    if os.path.commonpath([root, os.path.abspath(path)]) != root:
        raise error(
            f'{where} names {name!r}, which lies outside of {folder or "."}; expected a path '
            'below it. Correct that path.'
        )
    return path


def dump_json(value: Any, **options: Any) -> str:
    """Serialises to JSON that UTF-8 can hold: as is, or escaped where a surrogate is lone."""
    text = json.dumps(value, ensure_ascii=False, **options)
    return json.dumps(value, **options) if _LONE_SURROGATE.search(text) else text


def write_json(path: str | Path, value: Any, indent: int | None = 2) -> None:
    """Writes a JSON file whole or not at all."""
    write_text(path, dump_json(value, indent=indent) + '\n')


def write_json_lines(path: str | Path, records: Iterable[Any]) -> None:
    """Writes a file of JSON lines whole or not at all."""
    write_text(path, ''.join(dump_json(record) + '\n' for record in records))


def write_text(path: str | Path, text: str) -> None:
    """Writes a UTF-8 file whole or not at all."""
    with atomic_path(path) as part:
        part.write_text(text, encoding='utf-8', newline='\n')


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a path next to a file; what is written there takes the file's place on success.

    A kill leaves the old file or the new one. The parent folder is created.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def sha256_of(path: str | Path) -> str:
    """Computes the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def git_commit(root: str | Path = _ROOT) -> str | None:
    """Returns the commit of a source tree, ``+`` appended if tracked files differ from it.

    Args:
        root: top folder of the tree; by default the one of this package.

    Returns:
        The full hash, or None where git is missing or ``root`` is not the top of a repository
        (a package installed inside another repository).
    """
    try:
        if Path(_git(root, 'rev-parse', '--show-toplevel')).resolve() != Path(root).resolve():
            return None
        changed = _git(root, 'status', '--porcelain', '--untracked-files=no')
        return _git(root, 'rev-parse', 'HEAD') + '+' * bool(changed)
    except (OSError, subprocess.CalledProcessError):
        return None


def provenance(*packages: str, root: str | Path = _ROOT) -> dict[str, Any]:
    """Describes where a figure comes from: commit, versions, machine; for benchmark rows.

    Args:
        packages: whose versions are kept; None where one is not installed.
        root: top folder of the source tree.
    """
    from importlib.metadata import PackageNotFoundError, version  # slow to import

    versions: dict[str, str | None] = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return dict(
        commit=git_commit(root),
        python=platform.python_version(),
        **versions,
        machine=platform.machine(),
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count(),
    )


def _git(root: str | Path, *arguments: str) -> str:
    command = ['git', '-C', str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Builds a JSON object; a key that stands twice is a ValueError."""
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f'the key {twice!r} stands twice in one object')
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f'{name} is no JSON number')
