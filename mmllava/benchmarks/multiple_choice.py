"""Multiple-choice benchmarks: MMBench and SEED-Bench."""

import base64
import binascii
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmllava.benchmarks.files import ID, get_fields, read_json, records, unique_items
from mmllava.benchmarks.scores import by_group, per_sample, percent
from mmllava.benchmarks.types import Answers, Benchmark, Item, Scores
from mmllava.errors import DataError
from mmllava.io import resolve_below
from mmllava.metrics.multiple_choice import option_letter

_LETTERS = 'ABCD'
_ROUND = 1_000_000  # MMBench's step between the rounds of a question
_LONGEST_REFERENCE = 64  # characters; a shorter image cell is the index of another row
_NEEDED = ('index', 'question', 'image', 'A', 'B')


def read_mmbench(questions: Path, *, circular: bool = False) -> list[Item]:
    """Reads MMBench's tab-separated table with images in base64; English, Chinese and CCBench.

    Args:
        questions: ``mmbench_dev_20230712.tsv`` and the like. The rounds of a question, its
            options rotated by one each time, are rows too, their ids 1,000,000 apart.
        circular: add the rounds of questions that the file has in one round only.
    """
    table = [(where, record, _number(record, where)) for where, record in _table(questions)]
    in_rounds = {id_ % _ROUND for _, _, id_ in table if id_ >= _ROUND}
    cells = {record['index']: record['image'] for _, record, _ in table}
    items = []
    for where, record, id_ in table:
        image = _decode_image(record['image'], cells, where)
        options = _options(record)
        if len(options) < 2:
            raise DataError(f'{where} has fewer than two options. Correct that row.')
        truth = record.get('answer') or None
        if truth is not None and truth not in _LETTERS[: len(options)]:
            raise DataError(
                f'{where} has the answer {truth!r}, and {len(options)} options. Correct that row.'
            )
        turns = len(options) if circular and id_ % _ROUND not in in_rounds else 1
        for turn in range(turns):
            items.append((where, _rotated_item(record, id_, image, options, truth, turn)))
    return unique_items(items, 'index')


def _number(record: dict[str, str], where: str) -> int:
    if not record['index'].isdecimal():
        raise DataError(
            f'{where} has the index {record["index"]!r}, expected a number. Correct that row.'
        )
    return int(record['index'])


def _table(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    csv.field_size_limit(1 << 30)  # an image is one field
    try:
        with open(path, encoding='utf-8', newline='') as file:
            reader = csv.DictReader(file, delimiter='\t')
            missing = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(
                    f'{path} has no column {", ".join(missing)}; its first line is '
                    f'{str(reader.fieldnames)[:100]}. Is it a table of MMBench?'
                )
            count = 0
            for count, record in enumerate(reader, 1):
                where = f'{path}: row {count}'
                if None in record or None in record.values():
                    raise DataError(
                        f'{where} has more or fewer cells than the header. Download the file again.'
                    )
                yield where, record
            if not count:
                raise DataError(f'{path} has no rows, expected questions. Download it again.')
    except OSError as error:
        raise DataError(
            f'cannot read {path}: {error.strerror}. docs/datasets.md says where each file of a '
            'benchmark goes.'
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f'{path} is not a table in UTF-8: {error}. Download it again.') from error


def _decode_image(cell: str, cells: dict[str, str], where: str) -> bytes:
    if len(cell) <= _LONGEST_REFERENCE and cell in cells:
        cell = cells[cell]
    try:
        return base64.b64decode(cell, validate=True)
    except binascii.Error as error:
        raise DataError(
            f'{where} has the image {cell[:20]!r}..., which is neither base64 nor the index of '
            f'another row ({error}). Download the file again.'
        ) from error


def _is_set(cell: str | None) -> bool:
    return bool(cell) and cell.lower() not in ('nan', 'none')


def _options(record: dict[str, str]) -> list[str]:
    """Lists the options up to the first missing one, as LLaVA's script does."""
    options = []
    for letter in _LETTERS:
        if not _is_set(record.get(letter)):
            break
        options.append(record[letter])
    return options


def _rotated_item(
    record: dict[str, str], id_: int, image: bytes, options: list[str], truth: Any, turn: int
) -> Item:
    """Builds the item of a question whose options are rotated to the left by ``turn`` places."""
    shown = dict(zip(_LETTERS, options[turn:] + options[:turn], strict=False))
    place = None if truth is None else (_LETTERS.index(truth) - turn) % len(options)
    hint = record['hint'] if _is_set(record.get('hint')) else ''
    lines = '\n'.join(f'{letter}. {option}' for letter, option in shown.items())
    groups = {
        name: record[name] for name in ('l2-category', 'category') if _is_set(record.get(name))
    }
    return Item(
        id=id_ + turn * _ROUND,
        fields=dict(
            question=record['question'],
            hint=f'{hint}\n' if hint else '',
            hint_word=f'{hint} ' if hint else '',
            options=lines,
        ),
        image=image,
        image_id=record['index'],
        truth=None if place is None else _LETTERS[place],
        groups=groups,
        choices=len(options),
        record=dict(shown, **{k: record[k] for k in ('split',) if k in record}),
    )


def score_mmbench(items: Sequence[Item], answers: Answers) -> Scores:
    """Computes the percentage of questions right in all their rounds; overall, per category.

    With several rounds, ``vanilla`` counts the first round only. A missing answer is wrong,
    and so is one in which the rules find no letter; MMBench's server asks ChatGPT for those.
    ``unread`` is their percentage.
    """
    rounds: dict[int, list[bool]] = {}
    first: dict[int, Item] = {}
    vanilla: list[float] = []
    unread = 0
    for item, answer in zip(items, answers, strict=True):
        options = {k: v for k, v in item.record.items() if k in _LETTERS}
        letter = None if answer is None else option_letter(answer, options)
        unread += letter is None
        base = int(item.id) % _ROUND
        first.setdefault(base, item)
        rounds.setdefault(base, []).append(letter == item.truth)
        if int(item.id) < _ROUND:
            vanilla.append(float(letter == item.truth))
    values = [float(all(correct)) for correct in rounds.values()]
    scores = {'accuracy': percent(values)}
    if vanilla and len(items) > len(rounds):
        scores['vanilla'] = percent(vanilla)
    scores['unread'] = 100 * unread / len(items)
    return {**scores, **by_group(list(first.values()), values)}


def mmbench_per_sample(items: Sequence[Item], answers: Answers) -> list[Scores]:
    """Scores each round by itself: 100 if its letter is right."""
    scores = []
    for item, answer in zip(items, answers, strict=True):
        options = {k: v for k, v in item.record.items() if k in _LETTERS}
        letter = None if answer is None else option_letter(answer, options)
        scores.append(dict(accuracy=100.0 * (letter is not None and letter == item.truth)))
    return scores


def submit_mmbench(items: Sequence[Item], answers: Answers) -> dict[str, Any]:
    """Writes the table that MMBench's server takes, as LLaVA's script does.

    A missing answer is left out.
    """
    rows = []
    for item, answer in zip(items, answers, strict=True):
        if answer is None:
            continue
        options = {letter: item.record.get(letter, '') for letter in _LETTERS}
        row = dict(index=item.id, question=item.fields['question'], **options)
        row['prediction'] = answer
        if item.truth is not None:
            row['answer'] = item.truth
        if 'split' in item.record:
            row['split'] = item.record['split']
        rows.append(row)
    return {'mmbench_submission.xlsx': rows}


def read_seed(questions: Path, images: Path, *, data_type: str | None = None) -> list[Item]:
    """Reads SEED-Bench: 14,232 questions about images and 5,009 about the middle frame of a video.

    Args:
        questions: ``SEED-Bench.json``.
        images: folder with ``SEED-Bench-image/`` and, from LLaVA's ``extract_video_frames.py``,
            ``SEED-Bench-video-image/{type}_{question}.png``.
        data_type: ``image`` or ``video`` only.
    """
    content = read_json(questions, dict)
    names = {}
    if content.get('question_type') is not None:
        (kinds,) = get_fields(content, str(questions), question_type=dict)
        where = f'{questions}: question_type'
        names = {get_fields(kinds, where, **{name: int})[0]: name for name in kinds}
    items = []
    for where, record in records(questions, content, 'questions'):
        id_, text, kind, data_id, type_id, answer = get_fields(
            record,
            where,
            question_id=ID,
            question=str,
            data_type=str,
            data_id=ID,
            question_type_id=int,
            answer=str,
        )
        options = get_fields(
            record, where, **{f'choice_{letter.lower()}': ID for letter in _LETTERS}
        )
        if kind not in ('image', 'video'):
            raise DataError(
                f'{where} has data_type {kind!r}, expected image or video. Correct that record.'
            )
        if answer not in tuple(_LETTERS):
            raise DataError(
                f'{where} has the answer {answer!r}, expected A to D. Correct that record.'
            )
        if data_type not in (None, kind):
            continue
        name = f'SEED-Bench-image/{data_id}'
        if kind == 'video':
            name = f'SEED-Bench-video-image/{type_id}_{id_}.png'
        lines = '\n'.join(f'{a}. {b}' for a, b in zip(_LETTERS, options, strict=True))
        groups = dict(data_type=kind, type=names.get(type_id, str(type_id)))
        fields = dict(question=text, options=lines)
        image = resolve_below(images, name, where)
        item = Item(id_, fields, image, data_id, answer, groups, len(_LETTERS))
        items.append((where, item))
    if not items:
        raise DataError(f'{questions} has no question with data_type {data_type!r}.')
    return unique_items(items, 'question_id')


def score_seed(items: Sequence[Item], answers: Answers) -> Scores:
    """Computes the percentage of answers that are the letter itself: all, image, video, by type."""
    values = [float(a == item.truth) for item, a in zip(items, answers, strict=True)]
    return {
        'accuracy': percent(values),
        **by_group(items, values, 'data_type'),
        **by_group(items, values, 'type'),
    }


def submit_seed(items: Sequence[Item], answers: Answers) -> dict[str, Any]:
    """Writes the lines that SEED-Bench's leaderboard takes; a missing answer is left out."""
    predictions = [
        dict(question_id=item.id, prediction=answer)
        for item, answer in zip(items, answers, strict=True)
        if answer is not None
    ]
    return {'seed_submission.jsonl': predictions}


BENCHMARKS = {
    'mmbench': Benchmark(
        'MMBench', read_mmbench, score_mmbench, submit_mmbench, per_sample=mmbench_per_sample
    ),
    'mmbench_cn': Benchmark(
        'MMBench-CN', read_mmbench, score_mmbench, submit_mmbench, per_sample=mmbench_per_sample
    ),
    'seed': Benchmark(
        'SEED-Bench', read_seed, score_seed, submit_seed, per_sample=per_sample(score_seed)
    ),
}
