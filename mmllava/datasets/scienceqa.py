"""Writes ScienceQA's problems in the text formats that LLaVA was trained on.

Source: ``convert_sqa_to_llava.py`` and ``base_prompt.py`` of LLaVA 1.2.2; the texts are
equal, character for character.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmllava.errors import DataError, unknown_name
from mmllava.structures import IMAGE_TAG

LETTERS = 'ABCDE'
_WHY = 'BECAUSE:'
#: order of question -> its text; Q question, C context, M options, L lecture, E solution
QUESTIONS = {
    'CQM': 'Context: {context}\nQuestion: {question}\nOptions: {options}\n',
    'QCM': 'Question: {question}\nContext: {context}\nOptions: {options}\n',
    # With the reason in the question; the authors' upper bounds.
    'QCML': 'Question: {question}\nContext: {context}\nOptions: {options}\nBECAUSE: {lecture}\n',
    'QCME': 'Question: {question}\nContext: {context}\nOptions: {options}\nBECAUSE: {solution}\n',
    'QCMLE': 'Question: {question}\nContext: {context}\nOptions: {options}\n'
    'BECAUSE: {lecture} {solution}\n',
    'QCLM': 'Question: {question}\nContext: {context}\nBECAUSE: {lecture}\nOptions: {options}\n',
    'QCEM': 'Question: {question}\nContext: {context}\nBECAUSE: {solution}\nOptions: {options}\n',
    'QCLEM': 'Question: {question}\nContext: {context}\nBECAUSE: {lecture} {solution}\n'
    'Options: {options}\n',
}
#: order of answer -> its text; A answer, L lecture, E solution. The authors' AL gives the
#: solution and AE the lecture.
ANSWERS = {
    'A': 'Answer: The answer is {answer}.',
    'AL': 'Answer: The answer is {answer}. BECAUSE: {solution}',
    'AE': 'Answer: The answer is {answer}. BECAUSE: {lecture}',
    'ALE': 'Answer: The answer is {answer}. BECAUSE: {lecture} {solution}',
    'AEL': 'Answer: The answer is {answer}. BECAUSE: {solution} {lecture}',
    'LA': 'Answer: {lecture} The answer is {answer}.',
    'EA': 'Answer: {solution} The answer is {answer}.',
    'LEA': 'Answer: {lecture} {solution} The answer is {answer}.',
    'ELA': 'Answer: {solution} {lecture} The answer is {answer}.',
    'LEPA': '{lecture_line}{solution_line}###\nANSWER: {answer}.',
}
_TEXTS = ('question', 'hint', 'lecture', 'solution')


def check_format(name: str) -> tuple[str, str]:
    """Splits a format such as ``QCM-LEA`` into question and answer.

    Raises:
        ConfigError: one of the two is unknown.
    """
    question, _, answer = name.partition('-')
    if question not in QUESTIONS:
        raise unknown_name('ScienceQA question format', question, QUESTIONS)
    if answer not in ANSWERS:
        raise unknown_name('ScienceQA answer format', answer, ANSWERS)
    return question, answer


def write_problem(problem: Mapping[str, Any], format_: str) -> tuple[str, str]:
    """Formats question and answer of a problem.

    Args:
        problem: of ``problems.json``: ``question``, ``choices``, ``answer`` (an index),
            ``hint``, ``lecture`` and ``solution``.
        format_: such as ``QCM-LEA``; see `check_format`.

    Raises:
        ConfigError: unknown format.
        DataError: a field is missing or of another type.
    """
    question, answer = check_format(format_)
    _check(problem)
    lecture, solution = (problem[k].replace('\\n', '\n') for k in ('lecture', 'solution'))
    options = zip(LETTERS, problem['choices'], strict=False)
    fields = dict(
        question=problem['question'],
        context=problem['hint'].strip() or 'N/A',
        options=' '.join(f'({letter}) {choice}' for letter, choice in options),
        answer=LETTERS[problem['answer']],
        lecture=lecture,
        solution=solution,
        lecture_line=f'LECTURE: {lecture}\n' if lecture.strip() else '',
        solution_line=f'SOLUTION: {solution}\n' if solution.strip() else '',
    )
    asked, answered = (
        _tidy(text.format(**fields)) for text in (QUESTIONS[question], ANSWERS[answer])
    )
    if asked.startswith('Question: '):
        asked = asked.replace('Question: ', '')
    if answered.startswith('Answer: '):
        answered = answered.replace('Answer: ', '')
    return asked, answered


def convert(folder: str | Path, split: str, format_: str) -> list[dict[str, Any]]:
    """Converts one split to records of LLaVA's training JSON.

    Args:
        folder: has ``problems.json`` and ``pid_splits.json``.
        split: a key of ``pid_splits.json``: ``train``, ``val``, ``test``, ``minival``
            or ``minitest``.
        format_: such as ``QCM-LEA``; see `check_format`.

    Returns:
        One record per problem; its image is ``{id}/{file}``, below the folder of the split.

    Raises:
        ConfigError: unknown format or split.
        DataError: a file is missing or not as expected.
    """
    check_format(format_)
    problems, splits = (_read(Path(folder) / f'{n}.json') for n in ('problems', 'pid_splits'))
    if split not in splits:
        raise unknown_name('split', split, splits)
    return [_to_record(str(id_), problems, format_) for id_ in splits[split]]


def _to_record(id_: str, problems: Mapping[str, Any], format_: str) -> dict[str, Any]:
    if id_ not in problems:
        raise DataError(
            f'problem {id_} of pid_splits.json is not in problems.json. Take both from one release.'
        )
    problem = problems[id_]
    try:
        asked, answered = write_problem(problem, format_)
    except DataError as error:
        raise DataError(f'problem {id_} {error}') from error
    record: dict[str, Any] = dict(id=id_)
    if problem.get('image') is not None:
        record['image'] = f'{id_}/{problem["image"]}'
        asked += f'\n{IMAGE_TAG}'
    talk = [{'from': 'human', 'value': asked}, {'from': 'gpt', 'value': answered}]
    return dict(record, conversations=talk)


def _tidy(text: str) -> str:
    """Replaces double spaces by single ones, once, and drops a ``BECAUSE:`` without a reason."""
    text = text.replace('  ', ' ').strip()
    return text.replace(_WHY, '').strip() if text.endswith(_WHY) else text


def _check(problem: Any) -> None:
    if not isinstance(problem, Mapping):
        raise DataError(f'is {str(problem)[:80]}, expected an object with a question.')
    for name in _TEXTS:
        if not isinstance(problem.get(name), str):
            raise DataError(f'has {name} {problem.get(name)!r}, expected a text.')
    choices, answer = problem.get('choices'), problem.get('answer')
    if not isinstance(choices, list) or not 1 <= len(choices) <= len(LETTERS):
        raise DataError(f'has choices {choices!r}, expected a list of 1 to {len(LETTERS)}.')
    if not isinstance(answer, int) or not 0 <= answer < len(choices):
        raise DataError(f'has answer {answer!r}, expected the index of one of its choices.')


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding='utf-8'))
    except OSError as error:
        raise DataError(
            f'cannot read {file}: {error.strerror}. Expected the folder of ScienceQA with '
            'problems.json and pid_splits.json.'
        ) from error
    except ValueError as error:
        raise DataError(f'{file} is not JSON in UTF-8: {error}. Was it cut short?') from error
    if not isinstance(content, dict):
        raise DataError(
            f'{file} holds a JSON {type(content).__name__}, expected an object. Is it ScienceQA?'
        )
    return content
