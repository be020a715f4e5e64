"""Checks annotation files record by record; a bad record is named with its file and the fix."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmllava import io
from mmllava.benchmarks.types import Item
from mmllava.errors import DataError

ID = (int, str)
_TYPE_NAMES = {
    int: 'a number',
    float: 'a number',
    str: 'a string',
    list: 'a list',
    dict: 'an object',
}
_WHERE = ' (docs/datasets.md says where each file of a benchmark goes)'


def read_json(path: str | Path, kind: type | tuple[type, ...]) -> Any:
    """Reads a JSON file that holds a list or an object with at least one record.

    Raises:
        DataError: it is missing, not JSON, of another type, or empty.
    """
    content = io.read_json(path, kind, f'{_names(kind)} in JSON{_WHERE}')
    if not content:
        raise _empty(path)
    return content


def read_table(path: str | Path) -> list[tuple[str, list[str]]]:
    """Reads a tab-separated file as (file and line number, cells); blank lines are skipped.

    Raises:
        DataError: it is missing or not UTF-8.
    """
    lines = enumerate(io.read_text(path, f'a tab-separated table{_WHERE}').split('\n'), 1)
    return [(f'{path}: line {n}', line.split('\t')) for n, line in lines if line.strip()]


def records(path: str | Path, content: Mapping[str, Any], name: str) -> list[tuple[str, Any]]:
    """Lists the records of ``content[name]`` as (file and index, record).

    Raises:
        DataError: there is no such list, or it is empty.
    """
    found = content.get(name)
    if not isinstance(found, list):
        keys = ', '.join(map(repr, list(content)[:8]))
        raise DataError(
            f'{path} has no list "{name}"; its keys are {keys}. Is it a file of this benchmark?'
        )
    if not found:
        raise DataError(
            f'{path}: the list "{name}" is empty, expected records. Download the file again.'
        )
    return [(f'{path}: {name}[{n}]', record) for n, record in enumerate(found)]


def get_fields(record: Any, where: str, **types: type | tuple[type, ...]) -> list[Any]:
    """Returns the values of a record's fields in the order asked for.

    Args:
        record: a JSON object.
        where: file and place of the record, for the message.
        types: field name -> its type or types.

    Raises:
        DataError: the record is not an object, or a field is missing or of another type.
    """
    if not isinstance(record, Mapping):
        raise DataError(
            f'{where} is {str(record)[:60]!r}, expected an object. Correct that record.'
        )
    values = []
    for name, kind in types.items():
        if name not in record:
            keys = ', '.join(map(repr, list(record)[:8])) or 'none'
            raise DataError(
                f'{where} has no "{name}"; its keys are {keys}. Use the file as it was '
                'released, or add that key.'
            )
        value = record[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise DataError(
                f'{where} has "{name}" {str(value)[:60]!r}, expected {_names(kind)}. Correct '
                'that record.'
            )
        values.append(value)
    return values


def check_strings(value: Any, where: str, name: str) -> list[str]:
    """Returns the value of a field if it is a list of one or more strings.

    Raises:
        DataError: it is something else.
    """
    if not (isinstance(value, list) and value and all(isinstance(v, str) for v in value)):
        raise DataError(
            f'{where} has "{name}" {str(value)[:60]}, expected a list of one or more strings. '
            'Correct that record.'
        )
    return value


def check_unique_ids(ids: Iterable[tuple[str, Any]], name: str = 'question_id') -> None:
    """Checks that every id occurs once; ``ids`` are (place, id).

    Raises:
        DataError: an id occurs a second time.
    """
    seen: dict[Any, str] = {}
    for where, id_ in ids:
        if id_ in seen:
            raise DataError(
                f'{where} has the {name} {id_!r} of {seen[id_]} again; expected each once. '
                'Remove one of the two.'
            )
        seen[id_] = where


def unique_items(items: Sequence[tuple[str, Item]], name: str = 'id') -> list[Item]:
    """Returns the items of (place, item) after checking that every id occurs once.

    Raises:
        DataError: an id occurs a second time.
    """
    check_unique_ids(((where, item.id) for where, item in items), name)
    return [item for _, item in items]


def look_up(by_id: Mapping[Any, Any], key: Any, where: str, path: str | Path, name: str) -> Any:
    """Returns the entry that a second file has under the key of a record.

    Args:
        by_id: the entries of the second file.
        key: value of the record's field.
        where: file and place of the record, for the message.
        path: of the second file, for the message.
        name: of the record's field, for the message.

    Raises:
        DataError: there is none; the two files do not belong together.
    """
    if key not in by_id:
        raise DataError(
            f'{where} has the {name} {key!r}, which is not in {path}. Do the two files belong to '
            'the same split?'
        )
    return by_id[key]


def _empty(path: str | Path) -> DataError:
    return DataError(f'{path} is empty, expected at least one record. Download it again.')


def _names(kind: type | tuple[type, ...]) -> str:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    return ' or '.join(dict.fromkeys(_TYPE_NAMES.get(k, k.__name__) for k in kinds))
