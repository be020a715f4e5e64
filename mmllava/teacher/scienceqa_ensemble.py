"""ScienceQA with a text-only teacher beside the model: who answers what.

The teacher cannot see the image of a question. Complement: where the teacher gives no
letter, the model's answer counts, else the teacher's. Judge: the teacher reads both answers
where they disagree and decides; where it gives no letter, the model's answer counts.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mmllava import io
from mmllava.errors import DataError
from mmllava.teacher.endpoint import Request
from mmllava.teacher.prompts import OURS, read_prompt

Texts = Mapping[str, str]  # problem -> answer; a problem may be missing
Letter = Callable[[str], str | None]  # the letter that an answer names, or None
MAX_TOKENS = 512
JUDGED = 'judge'  # after the slash of a request's id


def read_outputs(file: Path) -> dict[str, str]:
    """Answers by problem: ``{"outputs": {id: text}}``, or JSON lines of question_id and text.

    Raises:
        DataError: it is neither.
    """
    if file.suffix == '.jsonl':
        pairs = [(row.get('question_id'), row.get('text')) for _, row in io.read_records(file)]
    else:
        outputs = io.read_json(file, expected='an object with "outputs" in JSON').get('outputs')
        pairs = list(outputs.items()) if isinstance(outputs, dict) else [(None, None)]
    if not all(isinstance(id_, str | int) and isinstance(text, str) for id_, text in pairs):
        raise DataError(
            f'{file} has no answers; expected {{"outputs": {{id: text}}}}, or in a .jsonl lines '
            'of question_id and text.'
        )
    return {str(id_): text for id_, text in pairs}


def write_outputs(texts: Texts) -> str:
    """Answers in the layout of LLaVA's result files."""
    return json.dumps(dict(outputs=dict(texts)), indent=2, ensure_ascii=False) + '\n'


def ask_answer(id_: str, question: str, examples: Sequence[tuple[str, str]]) -> Request:
    """Writes the request without the model: examples as turns, then the question."""
    messages = [('system', read_prompt(OURS / 'scienceqa/answer.txt'))]
    for asked, answered in examples:
        messages += [('user', f'Can you explain {asked}?'), ('assistant', answered)]
    messages.append(('user', f'Can you explain {question}?'))
    return Request(id_, tuple(messages), MAX_TOKENS, 0.0)


def ask_judgement(id_: str, question: str, ours: str, theirs: str) -> Request:
    """Writes the request where the two disagree. The authors' wording was not released."""
    text = (
        f'[Question]\n{question}\n\n[First answer]\n{ours}\n\n[End of first answer]\n\n'
        f'[Second answer]\n{theirs}\n\n[End of second answer]'
    )
    system = read_prompt(OURS / 'scienceqa/judge.txt')
    return Request(f'{id_}/{JUDGED}', (('system', system), ('user', text)), MAX_TOKENS, 0.0)


def disagreements(ids: Sequence[str], ours: Texts, theirs: Texts, letter: Letter) -> list[str]:
    """The problems whose answers do not name the same letter; none is a letter of its own."""
    return [id_ for id_ in ids if letter(ours.get(id_, '')) != letter(theirs.get(id_, ''))]


def complement(ids: Sequence[str], ours: Texts, theirs: Texts, letter: Letter) -> list[str | None]:
    """The teacher's (or the judge's) answer where it names a letter, else the model's."""
    return [theirs[id_] if letter(theirs.get(id_, '')) else ours.get(id_) for id_ in ids]


def best_of(
    ids: Sequence[str], ours: Texts, theirs: Texts, is_right: Callable[[str, str | None], bool]
) -> list[str | None]:
    """The right one of the two, where one is: no way to combine them can do better."""
    return [ours.get(id_) if is_right(id_, ours.get(id_)) else theirs.get(id_) for id_ in ids]
