"""Two answers to a question, rated by the teacher: LLaVA-Bench's relative score.

The reference's answer is rated beside the candidate's; 100 x the mean of the candidate's
ratings / the mean of the reference's is the score.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmllava import io
from mmllava.errors import ConfigError, DataError, unknown_name
from mmllava.teacher.endpoint import Request
from mmllava.teacher.image_context import ImageContext, read_contexts
from mmllava.teacher.prompts import OURS, read_prompt

Pair = tuple[float, float]  # ratings as they stand in a review: of its Assistant 1 and 2
FAILED: Pair = (-1.0, -1.0)
BENCHES = ('coco', 'wild', 'general')
TEMPERATURE, MAX_TOKENS = 0.2, 1024  # LLaVA's
TRIES = 3  # of a rating that cannot be read, in `careful`
RESAMPLES = 2000
_RATING = r'(\d+(?:\.\d+)?)(?:\s*/\s*10)?'
_TWO = re.compile(
    rf'[\W_]*(?:(?:scores?|ratings?)\W+)?{_RATING}(?:[\s,;|*]+|\s+and\s+){_RATING}[\W_]*', re.I
)


@dataclass(frozen=True)
class Item:
    """One question with both answers. ``context`` is what the judge is told of the image."""

    id: str
    category: str
    question: str
    reference: str
    candidate: str
    context: str = ''


@dataclass(frozen=True)
class Rules:
    """The instructions of a judge: one for each category (or '' for all), and a system message."""

    system: str
    by_category: Mapping[str, tuple[str, str]]  # category -> (name of an answerer, rule)

    def of(self, category: str) -> tuple[str, str]:
        if category in self.by_category:
            return self.by_category[category]
        if '' in self.by_category:
            return self.by_category['']
        raise unknown_name('category of a question, for these rules', category, self.by_category)

    def digest(self) -> str:
        told = json.dumps([self.system, dict(self.by_category)], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]


def guess_bench(context: Path | None) -> str:
    """``coco`` where images have boxes, ``wild`` where they have none, ``general`` without."""
    if context is None:
        return 'general'
    return 'coco' if any(image.boxes for image in read_contexts(context)) else 'wild'


def read_rules(bench: str, file: Path | None = None) -> Rules:
    """Our rules for a bench, or those of a file in the layout of LLaVA's rule.json."""
    system = read_prompt(OURS / 'judge/system_message.txt')
    if file is None:
        text = read_prompt(OURS / f'judge/{bench}.txt')
        return Rules(system, {'': ('Assistant', text)})
    try:
        stored = io.read_json(file, expected="rules in the format of LLaVA's rule.json")
        found = {name: (str(r['role']), str(r['prompt'])) for name, r in stored.items()}
    except (KeyError, TypeError) as error:
        raise DataError(
            f'{file} is no rule file; expected {{category: {{"role": ..., "prompt": ...}}}}.'
        ) from error
    return Rules(system, found)


def read_items(
    questions: Path, references: Path, candidates: Path, context: Path | None, bench: str
) -> list[Item]:
    """Joins JSON lines by ``question_id``.

    Args:
        questions: ``question_id``, ``text``, ``category``; ``image`` where there is a context.
        references, candidates: ``question_id``, ``text``.
        context: file of image contexts as `read_contexts` takes it, found by ``image``.
        bench: ``coco`` tells captions and boxes, ``wild`` captions; ``general`` nothing.

    Raises:
        ConfigError: context and bench do not fit.
        DataError: a file is not as expected, or an answer or a context is missing.
    """
    if bench not in BENCHES:
        raise unknown_name('bench', bench, BENCHES)
    if (context is None) != (bench == 'general'):
        raise ConfigError(
            f'bench {bench} {"needs" if context is None else "has no use for"} --context; '
            'coco and wild tell the judge of the image, general does not.'
        )
    asked = _by_id(questions)
    told = {p.file: p for p in read_contexts(context)} if context else {}
    first, second = _answers(references, asked), _answers(candidates, asked)
    items = []
    for id_, row in asked.items():
        category = str(row.get('category', 'all'))
        if bench == 'wild' and not category.startswith('llava_bench_'):
            category = f'llava_bench_{category}'
        said = _describe(told, row, bench, f'{questions}, question {id_}') if context else ''
        items.append(Item(id_, category, str(row['text']), first[id_], second[id_], said))
    return items


def name_review(item: Item, swapped: bool) -> str:
    """The id of a review's request."""
    return f'{item.id}/{"swapped" if swapped else "as-2023"}'


def to_request(item: Item, rules: Rules, swapped: bool, attempt: int = 0) -> Request:
    """Writes the text that the judge reads; the reference stands first, unless ``swapped``."""
    role, rule = rules.of(item.category)
    answers = [item.reference, item.candidate][:: -1 if swapped else 1]
    blocks = [f'[Context]\n{item.context}\n\n'] if item.context else []
    blocks.append(f'[Question]\n{item.question}\n\n')
    for number, answer in enumerate(answers, 1):
        blocks.append(f'[{role} {number}]\n{answer}\n\n[End of {role} {number}]\n\n')
    blocks.append(f'[System]\n{rule}\n\n')
    messages = (('system', rules.system), ('user', ''.join(blocks)))
    return Request(name_review(item, swapped), messages, MAX_TOKENS, TEMPERATURE, attempt)


def parse_2023(review: str) -> Pair:
    """The ratings, read as LLaVA's script reads them.

    The first line, commas turned into spaces and cut at every single space, must be two
    numbers; so ``8, 7``, with comma and space, fails. Where it prints nan or inf, we fail too.
    """
    parts = review.split('\n')[0].replace(',', ' ').split(' ')
    try:
        first, second = map(float, parts)
    except ValueError:
        return FAILED
    return (first, second) if math.isfinite(first) and math.isfinite(second) else FAILED


def parse_careful(review: str) -> Pair | None:
    """Two numbers from 1 to 10, in the first line that has any text, or None.

    The line may say ``Scores:`` and ``/10`` and no other word: in ``Assistant 1 is better than
    2`` nothing is rated.
    """
    line = review.strip().split('\n')[0]
    found = _TWO.fullmatch(line)
    if not found or '-' in line:
        return None
    first, second = float(found[1]), float(found[2])
    return (first, second) if 1 <= first <= 10 and 1 <= second <= 10 else None


def score_2023(rated: Sequence[tuple[str, Pair]]) -> dict[str, dict[str, Any]]:
    """LLaVA's arithmetic: (category, ratings) -> category, and ``all`` -> its columns.

    Means are rounded to three decimals before they are divided. Ratings that could not be
    read are in them, as -1 each: where every one failed, the score is 100.
    """
    columns = {}
    for category, pairs in _grouped(rated).items():
        means = [round(mean, 3) for mean in np.asarray(pairs).mean(0).tolist()]
        columns[category] = dict(
            score=round(means[1] / means[0] * 100, 1) if means[0] else None,
            reference=round(means[0] * 10, 1),
            candidate=round(means[1] * 10, 1),
            questions=len(pairs),
            unread=sum(tuple(pair) == FAILED for pair in pairs),
        )
    return columns


def score_careful(
    rated: Sequence[tuple[str, Pair | None, Pair | None]], seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Both orders, what could not be read left out, with bootstrap 95 % intervals.

    Args:
        rated: category, ratings with the reference first, ratings with the candidate first;
            both as they stand in the review.
        seed: of the resamples, which draw questions.

    Returns:
        category, and ``all`` -> ``score`` and ``interval``; ``first_bias``: by how much a rating
        is higher for standing first, with its own interval; ``excluded`` questions.
    """
    columns = {}
    for category, pairs in _grouped([(c, (a, b)) for c, a, b in rated]).items():
        whole = [(a, b) for a, b in pairs if a and b]
        columns[category] = column = dict(questions=len(pairs), excluded=len(pairs) - len(whole))
        if not whole:
            continue
        table = np.asarray(whole, float)  # question, order, place
        reference = (table[:, 0, 0] + table[:, 1, 1]) / 2
        candidate = (table[:, 0, 1] + table[:, 1, 0]) / 2
        bias = (table[:, 0, 0] - table[:, 1, 1] + table[:, 1, 0] - table[:, 0, 1]) / 2
        drawn = np.random.default_rng(seed).integers(len(whole), size=(RESAMPLES, len(whole)))
        ratios = 100 * candidate[drawn].mean(1) / reference[drawn].mean(1)
        column |= dict(
            score=round(float(100 * candidate.mean() / reference.mean()), 1),
            interval=_interval(ratios, 1),
            reference=round(float(reference.mean() * 10), 1),
            candidate=round(float(candidate.mean() * 10), 1),
            first_bias=round(float(bias.mean()), 2),
            first_bias_interval=_interval(bias[drawn].mean(1), 2),
        )
    return columns


def _grouped(rated: Sequence[tuple[str, Any]]) -> dict[str, list[Any]]:
    """category -> values, in alphabetical order, ``all`` among them."""
    groups: dict[str, list[Any]] = {}
    for category, value in rated:
        groups.setdefault(category, []).append(value)
        if category != 'all':
            groups.setdefault('all', []).append(value)
    return dict(sorted(groups.items()))


def _interval(values: np.ndarray, digits: int) -> list[float]:
    return [round(float(edge), digits) for edge in np.percentile(values, [2.5, 97.5])]


def _by_id(file: Path) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for where, row in io.read_records(file):
        id_, text = row.get('question_id'), row.get('text')
        if not isinstance(id_, int | str) or not isinstance(text, str):
            raise DataError(
                f'{where} has no "question_id" and "text"; expected both. Correct that record.'
            )
        if str(id_) in rows:
            raise DataError(f'{where} has question {id_} again; expected each once. Remove one.')
        rows[str(id_)] = row
    return rows


def _answers(file: Path, asked: Mapping[str, Any]) -> dict[str, str]:
    rows = _by_id(file)
    missing = [id_ for id_ in asked if id_ not in rows]
    if missing:
        raise DataError(
            f'{file} has no answer to {len(missing)} of {len(asked)} questions: '
            f'{", ".join(missing[:5])}. Expected one for each; answers are not paired by line.'
        )
    return {id_: rows[id_]['text'] for id_ in asked}


def _describe(
    contexts: Mapping[str, ImageContext], row: Mapping[str, Any], bench: str, where: str
) -> str:
    """Writes the context as LLaVA's scripts do; with boxes, an empty line even without any."""
    context = contexts.get(str(row.get('image')))
    if context is None:
        raise DataError(
            f'{where}: no line of --context is of its image {row.get("image")!r}. Add that line.'
        )
    captions = '\n'.join(context.captions)
    if bench == 'wild':
        return captions
    boxes = '\n'.join(f'{name}: {list(box)}' for name, box in context.boxes)
    return f'{captions}\n\n{boxes}'
