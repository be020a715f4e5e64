"""Answers that anybody's program wrote, matched with the items of a set."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmllava.benchmarks.files import read_json, read_lines
from mmllava.benchmarks.types import Item
from mmllava.errors import DataError

_IDS = ('question_id', 'image_id', 'questionId', 'id', 'image')
_TEXTS = ('text', 'answer', 'caption', 'prediction', 'pred_answer', 'pred_caption')


#: how LLaVA's answer files name an item, where it is not by our id
_ALIASES: dict[str, Callable[[Item], str]] = {
    'textvqa': lambda item: str(item.image_id),
    'pope': lambda item: str(item.id).split('/')[-1],  # in each file anew
    'mme': lambda item: str(item.image_id),  # task/picture, twice
    'mmvet': lambda item: str(item.id).removeprefix('v1_'),
}
_PLEASE = 'please answer yes or no.'
_ROUND = 1_000_000  # between the ids of an MMBench question's rounds


def read_answers(path: Path, items: Sequence[Item], benchmark: str = '') -> list[str | None]:
    """The answer to each item, None where there is none.

    LLaVA's own files name a picture twice (MME), a picture in the place of the question
    (TextVQA), or a number that each of POPE's files has. There the first line of ``prompt``
    tells the questions apart; the same question about the same picture, which several of
    POPE's files ask, is answered in the set's order.

    Args:
        path: JSON lines, a JSON list, or one JSON object id -> answer. A record has an id
            (``question_id``, ``image_id``, ``questionId``, ``id``, ``image``) and a text
            (``text``, ``answer``, ``caption``, ``prediction``, ``pred_answer``,
            ``pred_caption``): LLaVA's answers, ours, and what servers take.
        items: of the set.
        benchmark: name of the set, for the ids of LLaVA's files.

    Raises:
        DataError: a record has no id or text, an id that the set does not have, or one
            that came before; or no item has an answer.
    """
    numbers = {str(item.id): [number] for number, item in enumerate(items)}
    aliases: dict[str, list[int]] = {}
    for number, item in enumerate(items if benchmark in _ALIASES else ()):
        aliases.setdefault(_ALIASES[benchmark](item), []).append(number)
    found: list[str | None] = [None] * len(items)
    seen: dict[int, str] = {}
    for where, id_, text, prompt in _rows(path):
        known = numbers.get(str(id_)) or aliases.get(_plain(id_, benchmark)) or []
        known = _those_asked(items, known, prompt, where)
        number = next((n for n in known if n not in seen), known[0] if known else None)
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


def answered_by(path: Path) -> str:
    """Who gave the answers of a file: the one ``model_id`` of its rows, else the file's name."""
    rows = [row for _, row in read_lines(path)] if path.suffix == '.jsonl' else []
    names = {row.get('model_id') for row in rows if isinstance(row, dict)}
    name = names.pop() if len(names) == 1 else None
    name = name if isinstance(name, str) and name else path.stem
    return name.encode(errors='replace').decode()  # it goes into files that are UTF-8


def _plain(id_: Any, benchmark: str) -> str:
    """An id of LLaVA's files; of MME's, task and picture without folders and suffix."""
    parts = str(id_).split('/')
    return f'{parts[0]}/{Path(parts[-1]).stem}' if benchmark == 'mme' else str(id_)


def _those_asked(
    items: Sequence[Item], known: list[int], prompt: str | None, where: str
) -> list[int]:
    """Of several items under one name, those whose question the prompt begins with.

    Raises:
        DataError: there is no prompt to tell them apart, or they show several pictures.
    """
    if len(known) < 2:
        return known
    if prompt is not None:
        known = [n for n in known if _asked(items[n].fields['question']) == _asked(prompt)]
    if len({(items[n].image, _asked(items[n].fields['question'])) for n in known}) > 1:
        raise DataError(
            f'{where} may answer {items[known[0]].id!r} or {items[known[1]].id!r}. Give our ids, '
            'or LLaVA\'s "prompt", or score one file of the set at a time.'
        )
    return known


def _asked(prompt: str) -> str:
    """A question as it is compared: the prompt's first line, in small letters."""
    line = next(iter(prompt.strip().splitlines()), '').lower().replace(_PLEASE, '')
    return ' '.join(line.split())


def _rows(path: Path) -> list[tuple[str, Any, str | None, str | None]]:
    if path.suffix == '.jsonl':
        return [_pair(where, row) for where, row in read_lines(path)]
    content = read_json(path, (list, dict))
    if isinstance(content, list):
        return [_pair(f'{path}[{number}]', row) for number, row in enumerate(content)]
    if isinstance(content, dict) and all(isinstance(v, str) for v in content.values()):
        return [(f'{path}: {id_}', id_, text, None) for id_, text in content.items()]
    raise DataError(
        f'{path} is no list of answers and no object id -> answer. Expected JSON lines such as '
        f'{json.dumps(dict(question_id=1, text="yes"))}.'
    )


def _pair(where: str, row: Any) -> tuple[str, Any, str | None, str | None]:
    if isinstance(row, dict):
        ids = [row[name] for name in _IDS if row.get(name) is not None]
        named = [row[name] for name in _TEXTS if name in row]
        if ids and named and (named[0] is None or isinstance(named[0], str)):
            prompt, id_ = row.get('prompt'), ids[0]
            if isinstance(row.get('round_id'), int) and row['round_id'] and str(id_).isdecimal():
                id_ = int(id_) + row['round_id'] * _ROUND
            return where, id_, named[0], prompt if isinstance(prompt, str) else None
    raise DataError(
        f'{where} is {str(row)[:80]!r}; expected an id ({", ".join(_IDS)}) and a text '
        f'({", ".join(_TEXTS)}). Mend that record.'
    )
