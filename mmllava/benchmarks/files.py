"""Annotation files, read with care: a bad record is named with its file and the fix."""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmllava.benchmarks.types import Item
from mmllava.errors import DataError

ID = (int, str)
_HALF = re.compile(r'\\u[dD][89a-fA-F]')  # one of the two that stand for a character
NAMES = {int: 'a number', str: 'a text', list: 'a list', dict: 'an object', float: 'a number'}


def read_json(path: str | Path, kind: type | tuple[type, ...]) -> Any:
    """A whole JSON file that holds a list or an object, and not an empty one.

    Raises:
        DataError: it is missing, no JSON, of another kind, or empty.
    """
    try:
        content = _parse(_text(path), str(path))
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f'{path} is not JSON in UTF-8: {error}. Was it cut short? Fetch it again.'
        ) from error
    if not isinstance(content, kind):
        raise DataError(
            f'{path} holds {_kind(content)}, expected {_names(kind)}. Is it the file of this set?'
        )
    if not content:
        raise DataError(f'{path} is empty, expected at least one record. Fetch it again.')
    return content


def read_lines(path: str | Path) -> list[tuple[str, dict[str, Any]]]:
    """A file of JSON lines: (where it stands, object) each; blank lines are passed over.

    Raises:
        DataError: it is missing, empty, or a line is no JSON object.
    """
    rows = []
    for number, line in enumerate(_text(path).split('\n'), 1):  # U+2028 may be in a text
        if not line.strip():
            continue
        where = f'{path}: line {number}'
        try:
            row = _parse(line, where)
        except ValueError as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                f'{where} is not JSON: {error}. Expected one object a line; was it cut short?'
            ) from error
        rows.append((where, row))
    if not rows:
        raise DataError(f'{path} is empty, expected at least one record. Fetch it again.')
    return rows


def read_table(path: str | Path) -> list[tuple[str, list[str]]]:
    """A file of lines with tabs: (where it stands, cells) each; blank lines are passed over.

    Raises:
        DataError: it is missing or no text.
    """
    lines = enumerate(_text(path).split('\n'), 1)
    return [(f'{path}: line {n}', line.split('\t')) for n, line in lines if line.strip()]


def records(path: str | Path, content: Mapping[str, Any], name: str) -> list[tuple[str, Any]]:
    """(where it stands, record) of each in the list ``content[name]``.

    Raises:
        DataError: there is no such list, or it is empty.
    """
    rows = content.get(name)
    if not isinstance(rows, list):
        found = ', '.join(map(repr, list(content)[:8]))
        raise DataError(
            f'{path} has no list "{name}"; its keys are {found}. Is it the file of this set?'
        )
    if not rows:
        raise DataError(f'{path}: the list "{name}" is empty, expected records. Fetch it again.')
    return [(f'{path}: {name}[{n}]', row) for n, row in enumerate(rows)]


def take(row: Any, where: str, **types: type | tuple[type, ...]) -> list[Any]:
    """The values of a record's fields, in this order.

    Raises:
        DataError: the record is no object, or a field is missing or of another type.
    """
    if not isinstance(row, Mapping):
        raise DataError(f'{where} is {str(row)[:60]!r}, expected an object. Mend that record.')
    values = []
    for name, kind in types.items():
        if name not in row:
            keys = ', '.join(map(repr, list(row)[:8])) or 'none'
            raise DataError(
                f'{where} has no "{name}"; its keys are {keys}. Take the file as it was '
                'released, or add that key.'
            )
        value = row[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise DataError(
                f'{where} has "{name}" {str(value)[:60]!r}, expected {_names(kind)}. Mend that '
                'record.'
            )
        values.append(value)
    return values


def texts(value: Any, where: str, name: str, count: int | None = None) -> list[str]:
    """A list of texts, so many of them.

    Raises:
        DataError: it is something else.
    """
    good = isinstance(value, list) and value and all(isinstance(v, str) for v in value)
    if not good or count not in (None, len(value)):
        raise DataError(
            f'{where} has "{name}" {str(value)[:60]}, expected a list of '
            f'{count or "one or more"} texts. Mend that record.'
        )
    return value


def below(folder: str | Path, name: str, where: str) -> str:
    """The path of a picture in its folder; ``..`` does not lead out of it.

    Raises:
        DataError: it would.
    """
    if '\0' in name:
        raise DataError(
            f'{where} names the picture {name!r}, which has a NUL in it; no file does. Correct '
            'the record.'
        )
    path = os.path.join(folder, name)
    root = os.path.abspath(folder)
    if os.path.commonpath([root, os.path.abspath(path)]) != root:
        raise DataError(
            f'{where} names the picture {name!r}, which lies outside of {folder}; expected a '
            'path below it. Correct the record.'
        )
    return path


def once(ids: Iterable[tuple[str, Any]], name: str = 'question_id') -> None:
    """Checks that no id comes twice.

    Raises:
        DataError: one does.
    """
    seen: dict[Any, str] = {}
    for where, id_ in ids:
        if id_ in seen:
            raise DataError(
                f'{where} has the {name} {id_!r} of {seen[id_]} again. Each comes once; take '
                'one of the two out.'
            )
        seen[id_] = where


def unique(items: Sequence[tuple[str, Item]], name: str = 'id') -> list[Item]:
    """The items, each id once.

    Raises:
        DataError: an id comes a second time.
    """
    once(((where, item.id) for where, item in items), name)
    return [item for _, item in items]


def matching(by_id: Mapping[Any, Any], key: Any, where: str, path: str | Path, name: str) -> Any:
    """What another file has under a key.

    Raises:
        DataError: nothing; the files do not belong together.
    """
    if key not in by_id:
        raise DataError(
            f'{where} has the {name} {key!r}, which is not in {path}. Do the two files belong to '
            'the same split?'
        )
    return by_id[key]


def _parse(text: str, where: str) -> Any:
    """JSON, each key of an object once, and no half of a character."""

    def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(
                f'{where} has the key {twice!r} twice in one object; expected each once. Take one '
                'of the two out.'
            )
        return found

    content = json.loads(text, object_pairs_hook=once_each)
    if _HALF.search(text):
        try:
            json.dumps(content, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            near = error.object[max(error.start - 60, 0) : error.end]
            raise DataError(
                f'{where} has half of a character, which cannot be written, after {near!r}. '
                'Mend that text.'
            ) from error
    return content


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding='utf-8')
    except OSError as error:
        raise DataError(
            f'cannot read {path}: {error.strerror}. docs/datasets.md says where each file of a '
            'benchmark goes.'
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f'{path} is not text in UTF-8: {error}. Fetch it again.') from error


def _names(kind: type | tuple[type, ...]) -> str:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    return ' or '.join(dict.fromkeys(NAMES.get(k, k.__name__) for k in kinds))


def _kind(content: Any) -> str:
    return NAMES.get(type(content), type(content).__name__)
