"""Yes-or-no benchmarks: POPE and MME."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmllava.benchmarks.files import ID, get_fields, read_table, unique_items
from mmllava.benchmarks.types import Answers, Benchmark, Item, Scores
from mmllava.errors import DataError
from mmllava.images.load import SUFFIXES
from mmllava.io import read_records, resolve_below
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
    """Reads POPE's three files of JSON lines, ``coco_pope_random.json`` and so on; or some of them.

    Question numbers restart in each file, so an id is ``random/1``.
    """
    items = []
    for kind, file in (('random', random), ('popular', popular), ('adversarial', adversarial)):
        for where, record in read_records(file) if file else ():
            id_, image, text = get_fields(record, where, question_id=ID, image=str, text=str)
            (label,) = get_fields(record, where, label=str)
            if label not in _OTHER:
                raise DataError(
                    f'{where} has the label {label!r}, expected yes or no. Correct that line.'
                )
            path, groups = resolve_below(images, image, where), dict(kind=kind)
            fields = dict(question=text)
            items.append((where, Item(f'{kind}/{id_}', fields, path, image, label, groups)))
    if not items:
        raise DataError('POPE has no file; expected one or more of random, popular, adversarial.')
    return unique_items(items, 'question_id')


def score_pope(items: Sequence[Item], answers: Answers) -> Scores:
    """Computes means over the files, F1 first as in LLaVA's tables, then the scores of each file.

    All in percent. A missing answer is wrong, whatever the label.
    """
    kinds: dict[str, tuple[list[str], list[str]]] = {}
    for item, answer in zip(items, answers, strict=True):
        given, truths = kinds.setdefault(item.groups['kind'], ([], []))
        given.append(_OTHER[item.truth] if answer is None else pope_answer(answer))
        truths.append(item.truth)
    each = {kind: count_yes(*pair) for kind, pair in kinds.items()}
    names = ('F1', 'accuracy', 'precision', 'recall', 'yes_ratio')
    means = {n: sum(scores[n] for scores in each.values()) / len(each) for n in names}
    return {**means, **{f'{k}/{n}': scores[n] for k, scores in each.items() for n in names}}


def read_mme(root: Path, *, tasks: Sequence[str] | None = None) -> list[Item]:
    """Reads MME's folder of 14 tasks: for each image a text file of two questions with answers.

    Args:
        root: ``MME_Benchmark_release_version``; images and text files of a task together, or in
            ``images`` and ``questions_answers_YN``.
        tasks: names of the tasks to read; None reads all.
    """
    items = []
    for task in tasks or (*PERCEPTION, *COGNITION):
        folder = root / task
        if not folder.is_dir():
            raise DataError(
                f'there is no folder {folder}; MME has one for each of its 14 tasks. Unpack it '
                'whole, or name the tasks that you have: settings=dict(tasks=[...]).'
            )
        split = (folder / 'questions_answers_YN').is_dir()
        notes = folder / 'questions_answers_YN' if split else folder
        text_files = sorted(notes.glob('*.txt'))
        if not text_files:
            raise DataError(f'{notes} has no .txt file; expected one for each image.')
        for file in text_files:
            items += _read_pair(file, folder / 'images' if split else folder, task)
    return items


def _read_pair(file: Path, images: Path, task: str) -> list[Item]:
    """Reads the two questions about an image."""
    lines = read_table(file)
    if len(lines) != 2:
        raise DataError(
            f'{file} has {len(lines)} lines, expected two: a question that is right and one that '
            'is wrong. Download it again.'
        )
    candidates = [images / f'{file.stem}{suffix}' for suffix in ('.jpg', '.png', *SUFFIXES)]
    image = next((p for p in candidates if p.is_file()), candidates[0])  # if missing: said on load
    items = []
    for number, (where, cells) in enumerate(lines):
        if len(cells) != 2 or cells[1].strip().lower() not in _OTHER:
            raise DataError(
                f'{where} is {cells!r}, expected question, tab, Yes or No. Correct that line.'
            )
        question, truth = cells[0].strip(), cells[1].strip().lower()
        items.append(
            Item(
                id=f'{task}/{file.stem}/{number}',
                fields=dict(question=question, plain=question.replace(_PLEASE, '')),
                image=str(image),
                image_id=f'{task}/{file.stem}',
                truth=truth,
                groups=dict(task=task),
                record=dict(image=image.name, answer=cells[1].strip()),
            )
        )
    return items


def score_mme(items: Sequence[Item], answers: Answers) -> Scores:
    """Computes MME's scores: perception (0..2000), cognition (0..800), each task (0..200)."""
    right: dict[str, dict[Any, list[bool]]] = {}
    for item, answer in zip(items, answers, strict=True):
        images = right.setdefault(item.groups['task'], {})
        correct = answer is not None and mme_answer(answer) == item.truth
        images.setdefault(item.image_id, []).append(correct)
    return mme_totals({task: list(images.values()) for task, images in right.items()})


def pope_per_sample(items: Sequence[Item], answers: Answers) -> list[Scores]:
    """Scores each answer by itself: 100 if right by POPE's rule."""
    pairs = zip(items, answers, strict=True)
    return [dict(accuracy=100.0 * (a is not None and pope_answer(a) == i.truth)) for i, a in pairs]


def mme_per_sample(items: Sequence[Item], answers: Answers) -> list[Scores]:
    """Scores each answer by itself: 100 if right by MME's rule."""
    pairs = zip(items, answers, strict=True)
    return [dict(accuracy=100.0 * (a is not None and mme_answer(a) == i.truth)) for i, a in pairs]


def submit_mme(items: Sequence[Item], answers: Answers) -> dict[str, Any]:
    """Writes the files that MME's ``calculation.py`` reads: image, question, truth, answer."""
    files: dict[str, list[str]] = {}
    for item, answer in zip(items, answers, strict=True):
        text = ' '.join((answer or '').split())  # a tab or a line break would be another column
        cells = (item.record['image'], item.fields['question'], item.record['answer'], text)
        files.setdefault(f'mme/{item.groups["task"]}.txt', []).append('\t'.join(cells))
    return {name: '\n'.join(lines) + '\n' for name, lines in files.items()}


def submit_pope(items: Sequence[Item], answers: Answers) -> dict[str, Any]:
    """Writes for each file the answers that POPE's ``evaluate.py`` compares line by line.

    A file with a missing answer is left out: every line after it would be compared with the
    wrong question.
    """
    files: dict[str, list[dict[str, Any]]] = {}
    gaps = set()
    for item, answer in zip(items, answers, strict=True):
        name = f'pope_{item.groups["kind"]}.jsonl'
        files.setdefault(name, []).append(dict(question=item.fields['question'], answer=answer))
        gaps |= {name} if answer is None else set()
    return {name: lines for name, lines in files.items() if name not in gaps}


BENCHMARKS = {
    'pope': Benchmark('POPE', read_pope, score_pope, submit_pope, per_sample=pope_per_sample),
    'mme': Benchmark('MME', read_mme, score_mme, submit_mme, per_sample=mme_per_sample),
}
