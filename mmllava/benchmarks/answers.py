"""Floor 3. Answers that anybody's program wrote, matched with the items of a set."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmllava.benchmarks.files import read_json, read_lines
from mmllava.benchmarks.item import Item
from mmllava.errors import DataError

_IDS = ('question_id', 'image_id', 'questionId', 'id', 'image')
_TEXTS = ('text', 'answer', 'caption', 'prediction', 'pred_answer', 'pred_caption')


def read_answers(path: Path, items: Sequence[Item]) -> list[str | None]:
    """The answer to each item, None where there is none.

    Args:
        path: JSON lines, a JSON list, or one JSON object id -> answer. A record has an id
            (``question_id``, ``image_id``, ``questionId``, ``id``, ``image``) and a text
            (``text``, ``answer``, ``caption``, ``prediction``, ``pred_answer``,
            ``pred_caption``): LLaVA's answers, ours, and what servers take.
        items: of the set.

    Raises:
        DataError: a record has no id or text, an id that the set does not have, or one
            that came before; or no item has an answer.
    """
    numbers = {str(item.id): number for number, item in enumerate(items)}
    found: list[str | None] = [None] * len(items)
    seen: dict[int, str] = {}
    for where, id_, text in _rows(path):
        number = numbers.get(str(id_))
        if number is None:
            raise DataError(
                f'{where} answers {id_!r}, which this set does not ask (it begins with '
                f'{items[0].id!r}). Are the answers of another set or split?'
            )
        if number in seen:
            raise DataError(
                f'{where} answers {id_!r} a second time, after {seen[number]}. Keep one of them.'
            )
        seen[number], found[number] = where, text
    return found


def _rows(path: Path) -> list[tuple[str, Any, str | None]]:
    if path.suffix == '.jsonl':
        return [_pair(where, row) for where, row in read_lines(path)]
    content = read_json(path, (list, dict))
    if isinstance(content, list):
        return [_pair(f'{path}[{number}]', row) for number, row in enumerate(content)]
    if isinstance(content, dict) and all(isinstance(v, str) for v in content.values()):
        return [(f'{path}: {id_}', id_, text) for id_, text in content.items()]
    raise DataError(
        f'{path} is no list of answers and no object id -> answer. Expected JSON lines such as '
        f'{json.dumps(dict(question_id=1, text="yes"))}.'
    )


def _pair(where: str, row: Any) -> tuple[str, Any, str | None]:
    if isinstance(row, dict):
        ids = [row[name] for name in _IDS if row.get(name) is not None]
        named = [row[name] for name in _TEXTS if name in row]
        if ids and named and (named[0] is None or isinstance(named[0], str)):
            return where, ids[0], named[0]
    raise DataError(
        f'{where} is {str(row)[:80]!r}; expected an id ({", ".join(_IDS)}) and a text '
        f'({", ".join(_TEXTS)}). Mend that record.'
    )
