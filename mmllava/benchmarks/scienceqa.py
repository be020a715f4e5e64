"""ScienceQA: reads problems.json and pid_splits.json, scores letters, writes the result file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmllava.benchmarks.files import get_fields, look_up, read_json, unique_items
from mmllava.benchmarks.scores import by_group, per_sample, percent
from mmllava.benchmarks.types import Answers, Benchmark, Item, Scores
from mmllava.datasets.scienceqa import LETTERS, write_problem
from mmllava.errors import DataError, unknown_name
from mmllava.io import resolve_below
from mmllava.metrics.multiple_choice import scienceqa_choice
from mmllava.structures import IMAGE_TAG

_SUBJECTS = {'natural science': 'NAT', 'social science': 'SOC', 'language science': 'LAN'}


def read_scienceqa(
    problems: Path,
    splits: Path,
    images: Path,
    questions: Path | None = None,
    *,
    split: str = 'test',
) -> list[Item]:
    """Reads the items of one split, in its order.

    Args:
        problems: ``problems.json``.
        splits: ``pid_splits.json``.
        images: folder of the split's images, ``{id}/{file}``.
        questions: LLaVA's own questions, such as ``llava_test_CQM-A.json``; their text then
            replaces the questions that are written from the problems.
        split: ``train``, ``val``, ``test``, ``minival`` or ``minitest``.

    Raises:
        DataError: a file is not in ScienceQA's format.
        ConfigError: there is no such split.
    """
    by_id, ids = read_json(problems, dict), read_json(splits, dict)
    if split not in ids:
        raise unknown_name('split of ScienceQA', split, ids)
    (listed,) = get_fields(ids, str(splits), **{split: list})
    if not listed:
        raise DataError(f'{splits} has no id in {split!r}, expected some. Download the file again.')
    given = _read_questions(questions) if questions else {}
    pairs = []
    for number, id_ in enumerate(listed):
        where = f'{splits}: {split}[{number}]'
        problem = look_up(by_id, str(id_), where, problems, 'id')
        where = f'{problems}: {id_}'
        try:
            texts = {f: write_problem(problem, f'{f}-A')[0] for f in ('CQM', 'QCM')}
        except DataError as error:
            raise DataError(f'{where} {error}') from error
        if questions:
            texts['CQM'] = texts['QCM'] = look_up(given, str(id_), where, questions, 'id')
        pairs.append((where, _item(str(id_), problem, texts, images, where)))
    return unique_items(pairs)


def _item(id_: str, problem: Any, texts: dict[str, str], images: Path, where: str) -> Item:
    subject, grade, hint = get_fields(problem, where, subject=str, grade=str, hint=str)
    if subject not in _SUBJECTS:
        raise DataError(
            f'{where} has the subject {subject!r}, expected one of {", ".join(_SUBJECTS)}. '
            'Correct that record.'
        )
    if not grade.removeprefix('grade').isdecimal():
        raise DataError(f'{where} has the grade {grade!r}, expected "grade1" to "grade12".')
    name, choices = problem.get('image'), problem['choices']
    groups = {
        'subject': _SUBJECTS[subject],
        'grade': 'G1-6' if int(grade.removeprefix('grade')) <= 6 else 'G7-12',
    }
    groups |= {'text': 'TXT'} if hint else {}
    groups |= {'image': 'IMG'} if name is not None else {}
    groups |= {'neither': 'NO'} if not hint and name is None else {}
    options = '\n'.join(f'{a}. {b}' for a, b in zip(LETTERS, choices, strict=False))
    return Item(
        id=id_,
        fields=dict(
            cqm=texts['CQM'],
            qcm=texts['QCM'],
            question=problem['question'],
            options=options,
            hint=f'Context: {hint}\n' if hint else '',
        ),
        image=None if name is None else resolve_below(images, f'{id_}/{name}', where),
        image_id=None if name is None else id_,
        truth=problem['answer'],
        groups=groups,
        choices=len(choices),
    )


def _read_questions(file: Path) -> dict[str, str]:
    """Reads LLaVA's question file: problem id -> text."""
    questions = {}
    for number, record in enumerate(read_json(file, list)):
        where = f'{file}[{number}]'
        id_, conversation = get_fields(record, where, id=(str, int), conversations=list)
        (text,) = get_fields(
            conversation[0] if conversation else None, f'{where} conversations[0]', value=str
        )
        questions[str(id_)] = text.replace(IMAGE_TAG, '').strip()
    return questions


def score_scienceqa(items: Sequence[Item], answers: Answers) -> Scores:
    """Computes accuracy in percent: all, by subject, context and grade.

    A missing answer is wrong. ``unread`` is the percentage of answers without one of the
    offered letters. IMG is what LLaVA's tables call SQA-IMG.
    """
    read = [
        -1 if a is None else scienceqa_choice(a, i.choices)
        for i, a in zip(items, answers, strict=True)
    ]
    right = [float(r == item.truth) for r, item in zip(read, items, strict=True)]
    order = ('NAT', 'SOC', 'LAN', 'TXT', 'IMG', 'NO', 'G1-6', 'G7-12')
    groups = by_group(items, right)
    return {
        'accuracy': percent(right),
        **{name: groups[name] for name in order if name in groups},
        'unread': percent([float(r == -1) for r in read]),
    }


def submit_scienceqa(items: Sequence[Item], answers: Answers) -> dict[str, Any]:
    """Writes the result file of LLaVA's script, which ScienceQA's own evaluation reads."""
    texts = {item.id: 'FAILED' if a is None else a for item, a in zip(items, answers, strict=True)}
    results = {item.id: scienceqa_choice(texts[item.id], item.choices) for item in items}
    correct = sum(results[item.id] == item.truth for item in items)
    result = dict(
        acc=correct / len(items) * 100,
        correct=correct,
        count=len(items),
        results=results,
        outputs=texts,
    )
    return {'scienceqa_result.json': result}


BENCHMARKS = {
    'scienceqa': Benchmark(
        'ScienceQA',
        read_scienceqa,
        score_scienceqa,
        submit_scienceqa,
        per_sample=per_sample(score_scienceqa),
    ),
}
