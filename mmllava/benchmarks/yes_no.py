"""Questions to be answered by yes or no: POPE and MME."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmllava.benchmarks.files import ID, below, read_lines, read_table, take, unique
from mmllava.benchmarks.types import Answers, Benchmark, Item, Scores
from mmllava.errors import DataError
from mmllava.images.load import SUFFIXES
from mmllava.metrics.yes_no import (
    COGNITION,
    PERCEPTION,
    count_yes,
    mme_answer,
    mme_totals,
    pope_answer,
)

_PLEASE = ' Please answer yes or no.'
_OTHER = dict(yes='no', no='yes')


def read_pope(
    images: Path,
    random: Path | None = None,
    popular: Path | None = None,
    adversarial: Path | None = None,
) -> list[Item]:
    """POPE's three files of JSON lines, ``coco_pope_random.json`` and so on; or some of them.

    Question numbers start again in each, so an id is ``random/1``.
    """
    items = []
    for kind, path in (('random', random), ('popular', popular), ('adversarial', adversarial)):
        for where, row in read_lines(path) if path else ():
            id_, image, text = take(row, where, question_id=ID, image=str, text=str)
            (label,) = take(row, where, label=str)
            if label not in _OTHER:
                raise DataError(
                    f'{where} has the label {label!r}, expected yes or no. Mend that line.'
                )
            picture, groups = below(images, image, where), dict(kind=kind)
            fields = dict(question=text)
            items.append((where, Item(f'{kind}/{id_}', fields, picture, image, label, groups)))
    if not items:
        raise DataError('POPE has no file; expected one or more of random, popular, adversarial.')
    return unique(items, 'question_id')


def score_pope(items: Sequence[Item], answers: Answers) -> Scores:
    """Percent: means over the files, F1 first as in LLaVA's tables, then those of each file.

    A missing answer is wrong, whatever the label.
    """
    kinds: dict[str, tuple[list[str], list[str]]] = {}
    for item, answer in zip(items, answers, strict=True):
        said, truths = kinds.setdefault(item.groups['kind'], ([], []))
        said.append(_OTHER[item.truth] if answer is None else pope_answer(answer))
        truths.append(item.truth)
    each = {kind: count_yes(*found) for kind, found in kinds.items()}
    names = ('F1', 'accuracy', 'precision', 'recall', 'yes_ratio')
    means = {n: sum(scores[n] for scores in each.values()) / len(each) for n in names}
    return {**means, **{f'{k}/{n}': scores[n] for k, scores in each.items() for n in names}}


def read_mme(root: Path, *, tasks: Sequence[str] | None = None) -> list[Item]:
    """MME's folder of 14 tasks: a text of two lines, question and answer, beside each picture.

    Args:
        root: ``MME_Benchmark_release_version``; pictures and texts of a task together, or in
            ``images`` and ``questions_answers_YN``.
        tasks: only these.
    """
    items = []
    for task in tasks or (*PERCEPTION, *COGNITION):
        folder = root / task
        if not folder.is_dir():
            raise DataError(
                f'there is no folder {folder}; MME has one for each of its 14 tasks. Unpack it '
                'whole, or name those that you have: settings=dict(tasks=[...]).'
            )
        split = (folder / 'questions_answers_YN').is_dir()
        notes = folder / 'questions_answers_YN' if split else folder
        found = sorted(notes.glob('*.txt'))
        if not found:
            raise DataError(f'{notes} has no .txt file; expected one for each picture.')
        for file in found:
            items += _pair(file, folder / 'images' if split else folder, task)
    return items


def _pair(file: Path, images: Path, task: str) -> list[Item]:
    """The two questions about a picture."""
    rows = read_table(file)
    if len(rows) != 2:
        raise DataError(
            f'{file} has {len(rows)} lines, expected two: a question that is right and one that '
            'is wrong. Fetch it again.'
        )
    places = [images / f'{file.stem}{suffix}' for suffix in ('.jpg', '.png', *SUFFIXES)]
    picture = next((p for p in places if p.is_file()), places[0])  # a missing one is told later
    items = []
    for number, (where, cells) in enumerate(rows):
        if len(cells) != 2 or cells[1].strip().lower() not in _OTHER:
            raise DataError(
                f'{where} is {cells!r}, expected a question, a tab, and Yes or No. Mend that line.'
            )
        question, truth = cells[0].strip(), cells[1].strip().lower()
        items.append(
            Item(
                id=f'{task}/{file.stem}/{number}',
                fields=dict(question=question, plain=question.replace(_PLEASE, '')),
                image=str(picture),
                image_id=f'{task}/{file.stem}',
                truth=truth,
                groups=dict(task=task),
                record=dict(image=picture.name, answer=cells[1].strip()),
            )
        )
    return items


def score_mme(items: Sequence[Item], answers: Answers) -> Scores:
    """MME's scores: perception (0..2000), cognition (0..800), then each task (0..200)."""
    right: dict[str, dict[Any, list[bool]]] = {}
    for item, answer in zip(items, answers, strict=True):
        pictures = right.setdefault(item.groups['task'], {})
        good = answer is not None and mme_answer(answer) == item.truth
        pictures.setdefault(item.image_id, []).append(good)
    return mme_totals({task: list(pictures.values()) for task, pictures in right.items()})


def pope_per_sample(items: Sequence[Item], answers: Answers) -> list[Scores]:
    """100 where POPE's reading of the answer is right."""
    pairs = zip(items, answers, strict=True)
    return [dict(accuracy=100.0 * (a is not None and pope_answer(a) == i.truth)) for i, a in pairs]


def mme_per_sample(items: Sequence[Item], answers: Answers) -> list[Scores]:
    """100 where MME's reading of the answer is right."""
    pairs = zip(items, answers, strict=True)
    return [dict(accuracy=100.0 * (a is not None and mme_answer(a) == i.truth)) for i, a in pairs]


def submit_mme(items: Sequence[Item], answers: Answers) -> dict[str, Any]:
    """The files that MME's ``calculation.py`` reads: picture, question, answer, ours."""
    files: dict[str, list[str]] = {}
    for item, answer in zip(items, answers, strict=True):
        own = ' '.join((answer or '').split())  # a tab or a line break would be another column
        cells = (item.record['image'], item.fields['question'], item.record['answer'], own)
        files.setdefault(f'mme/{item.groups["task"]}.txt', []).append('\t'.join(cells))
    return {name: '\n'.join(lines) + '\n' for name, lines in files.items()}


def submit_pope(items: Sequence[Item], answers: Answers) -> dict[str, Any]:
    """For each file, the answers that POPE's ``evaluate.py`` reads, line by line with its own.

    A file with a missing answer is not written: each line after it would be scored as another.
    """
    files: dict[str, list[dict[str, Any]]] = {}
    gaps = set()
    for item, answer in zip(items, answers, strict=True):
        name = f'pope_{item.groups["kind"]}.jsonl'
        files.setdefault(name, []).append(dict(question=item.fields['question'], answer=answer))
        gaps |= {name} if answer is None else set()
    return {name: rows for name, rows in files.items() if name not in gaps}


BENCHMARKS = {
    'pope': Benchmark('POPE', read_pope, score_pope, submit_pope, per_sample=pope_per_sample),
    'mme': Benchmark('MME', read_mme, score_mme, submit_mme, per_sample=mme_per_sample),
}
