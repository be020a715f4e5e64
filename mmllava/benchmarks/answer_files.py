"""Reads answer files that any program wrote, and matches them with the items of a benchmark."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmllava.benchmarks.files import read_json
from mmllava.benchmarks.types import Item
from mmllava.errors import DataError
from mmllava.io import read_records

_ID_KEYS = ('question_id', 'image_id', 'questionId', 'id', 'image')
_ANSWER_KEYS = ('text', 'answer', 'caption', 'prediction', 'pred_answer', 'pred_caption')


#: benchmark -> an item's id in LLaVA's answer files, where it is not our id
_ALIASES: dict[str, Callable[[Item], str]] = {
    'textvqa': lambda item: str(item.image_id),
    'pope': lambda item: str(item.id).split('/')[-1],  # restarts in each file
    'mme': lambda item: str(item.image_id),  # task/image, of two questions
    'mmvet': lambda item: str(item.id).removeprefix('v1_'),
}
_PLEASE = 'please answer yes or no.'
_ROUND = 1_000_000  # between the ids of an MMBench question's rounds


def read_answers(path: Path, items: Sequence[Item], benchmark: str = '') -> list[str | None]:
    """Reads the answer to each item, None where there is none.

    In LLaVA's own files two questions have one image's id (MME), the id is that of the image
    and not of the question (TextVQA), or a number that each of POPE's files uses. There the
    first line of ``prompt`` tells the questions apart; the same question about the same image,
    which several of POPE's files ask, is answered in the order of the items.

    Args:
        path: JSON lines, a JSON list, or one JSON object id -> answer. A record has an id
            (``question_id``, ``image_id``, ``questionId``, ``id``, ``image``) and an answer
            (``text``, ``answer``, ``caption``, ``prediction``, ``pred_answer``,
            ``pred_caption``): LLaVA's answers, ours, and what servers take.
        items: of the benchmark.
        benchmark: its name, for the ids of LLaVA's files.

    Raises:
        DataError: a record has no id or answer, an id that the benchmark does not have, or
            one that came before; or no item has an answer.
    """
    by_id = {str(item.id): [number] for number, item in enumerate(items)}
    by_alias: dict[str, list[int]] = {}
    for number, item in enumerate(items if benchmark in _ALIASES else ()):
        by_alias.setdefault(_ALIASES[benchmark](item), []).append(number)
    answers: list[str | None] = [None] * len(items)
    seen: dict[int, str] = {}
    for where, id_, answer, prompt in _read_records(path):
        matches = by_id.get(str(id_)) or by_alias.get(_to_alias(id_, benchmark)) or []
        matches = _filter_by_prompt(items, matches, prompt, where)
        number = next((n for n in matches if n not in seen), matches[0] if matches else None)
        if number is None:
            raise DataError(
                f'{where} answers {id_!r}, which this benchmark does not ask (its first id is '
                f'{items[0].id!r}). Are the answers those of another benchmark or split?'
            )
        if number in seen:
            raise DataError(
                f'{where} answers {id_!r} a second time, after {seen[number]}. Keep one of them.'
            )
        seen[number], answers[number] = where, answer
    return answers


def answered_by(path: Path) -> str:
    """Names the model of an answer file: the one ``model_id`` of its records, else its stem."""
    records = [record for _, record in read_records(path)] if path.suffix == '.jsonl' else []
    names = {record.get('model_id') for record in records}
    name = names.pop() if len(names) == 1 else None
    name = name if isinstance(name, str) and name else path.stem
    return name.encode(errors='replace').decode()  # it is written into UTF-8 files


def _to_alias(id_: Any, benchmark: str) -> str:
    """Converts an id of LLaVA's files; of MME's, to task and image without folders and suffix."""
    parts = str(id_).split('/')
    return f'{parts[0]}/{Path(parts[-1]).stem}' if benchmark == 'mme' else str(id_)


def _filter_by_prompt(
    items: Sequence[Item], matches: list[int], prompt: str | None, where: str
) -> list[int]:
    """Keeps, of several items with one id, those whose question the prompt begins with.

    Raises:
        DataError: there is no prompt to tell them apart, or they show several images.
    """
    if len(matches) < 2:
        return matches
    if prompt is not None:
        matches = [n for n in matches if _question_of(items[n]) == _first_line(prompt)]
    if len({(items[n].image, _question_of(items[n])) for n in matches}) > 1:
        raise DataError(
            f'{where} may answer {items[matches[0]].id!r} or {items[matches[1]].id!r}. Use our '
            'ids, or add LLaVA\'s "prompt", or score one file of the benchmark at a time.'
        )
    return matches


def _question_of(item: Item) -> str:
    return _first_line(item.fields['question'])


def _first_line(prompt: str) -> str:
    """Normalises a question for comparison: the first line, in lower case."""
    line = next(iter(prompt.strip().splitlines()), '').lower().replace(_PLEASE, '')
    return ' '.join(line.split())


def _read_records(path: Path) -> list[tuple[str, Any, str | None, str | None]]:
    """Reads (place, id, answer, prompt) of every record."""
    if path.suffix == '.jsonl':
        return [_parse_record(where, record) for where, record in read_records(path)]
    content = read_json(path, (list, dict))
    if isinstance(content, list):
        return [_parse_record(f'{path}[{number}]', record) for number, record in enumerate(content)]
    if all(isinstance(value, str) for value in content.values()):
        return [(f'{path}: {id_}', id_, answer, None) for id_, answer in content.items()]
    raise DataError(
        f'{path} is neither a list of answers nor an object id -> answer. Expected JSON lines '
        f'such as {json.dumps(dict(question_id=1, text="yes"))}.'
    )


def _parse_record(where: str, record: Any) -> tuple[str, Any, str | None, str | None]:
    if isinstance(record, dict):
        ids = [record[key] for key in _ID_KEYS if record.get(key) is not None]
        answers = [record[key] for key in _ANSWER_KEYS if key in record]
        if ids and answers and (answers[0] is None or isinstance(answers[0], str)):
            prompt, id_, turn = record.get('prompt'), ids[0], record.get('round_id')
            if isinstance(turn, int) and turn and str(id_).isdecimal():
                id_ = int(id_) + turn * _ROUND
            return where, id_, answers[0], prompt if isinstance(prompt, str) else None
    raise DataError(
        f'{where} is {str(record)[:80]!r}; expected an id ({", ".join(_ID_KEYS)}) and an answer '
        f'({", ".join(_ANSWER_KEYS)}). Correct that record.'
    )
