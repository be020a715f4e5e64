"""From images in words to LLaVA's training JSON."""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmllava.structures import IMAGE_TAG
from mmllava.teacher.client import Failure, Teacher
from mmllava.teacher.endpoint import Request
from mmllava.teacher.image_context import ImageContext
from mmllava.teacher.parse import Rejected, Turns, read_answer
from mmllava.teacher.prompts import Recipe

#: What is asked for where the teacher only describes. Source: LLaVA's instruction pool.
DETAIL_QUESTIONS = (
    'Describe the following image in detail.',
    'Provide a detailed description of the given image.',
    'Give an elaborate explanation of the image you see.',
    'Share a comprehensive rundown of the presented image.',
    'Offer a thorough analysis of the image.',
    'Explain the various aspects of the image before you.',
    'Clarify the contents of the displayed image with great detail.',
    'Characterize the image using a well-detailed description.',
    'Break down the elements of the image in a detailed manner.',
    'Walk through the important details of the image.',
    'Portray the image with a rich, descriptive narrative.',
    'Narrate the contents of the image with precision.',
    'Analyze the image in a comprehensive and detailed manner.',
    'Illustrate the image through a descriptive explanation.',
    'Examine the image closely and share its details.',
    'Write an exhaustive depiction of the given image.',
)


@dataclass
class Written:
    """The results of a run. ``rows[k]`` is of the image and kind ``of[k]``."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    of: list[tuple[ImageContext, str]] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    not_asked: int = 0

    def reasons(self) -> dict[str, dict[str, int]]:
        """kind -> reason -> how many, kept ones too."""
        found: dict[str, Counter[str]] = {}
        for _, kind in self.of:
            found.setdefault(kind, Counter())['kept'] += 1
        for row in self.rejected:
            found.setdefault(row['kind'], Counter())[row['reason']] += 1
        for row in self.failed:
            found.setdefault(row['kind'], Counter())['no answer'] += 1
        return {kind: dict(counts) for kind, counts in found.items()}


def requests_of(
    contexts: Sequence[ImageContext],
    recipes: Mapping[str, Recipe],
    max_tokens: int,
    temperature: float | None,
) -> Iterator[Request]:
    """Every request of a run: each kind of each image."""
    for context in contexts:
        for recipe in recipes.values():
            yield recipe.request(context, max_tokens, temperature)


def generate(
    contexts: Sequence[ImageContext],
    recipes: Mapping[str, Recipe],
    teacher: Teacher,
    requests: Iterator[Request],
    seed: int = 0,
) -> Written:
    """Asks for everything and keeps what can be learned from.

    Args:
        contexts, recipes: as `requests_of` takes them.
        teacher: asked; what it has in its cache costs nothing.
        requests: of `requests_of`.
        seed: of the questions that are drawn and of the side of ``<image>``; with the
            image's id and the kind it decides them, so that order and kills do not.
    """
    results = teacher.ask(requests)
    written, before = Written(), set()
    for context in contexts:
        for kind in recipes:
            result = results.get(f'{context.id}/{kind}')
            if result is None:
                written.not_asked += 1
                continue
            where = dict(id=context.id, image=context.file, kind=kind)
            if isinstance(result, Failure):
                told = dict(reason=f'no answer ({result.kind})', detail=result.message)
                written.failed.append(where | told)
                continue
            try:
                turns = read_answer(kind, result)
                if result.text.strip() in before:
                    raise Rejected('doubled', 'the same answer as to an earlier image')
            except Rejected as error:
                told = dict(reason=error.reason, detail=error.detail, answer=result.text)
                written.rejected.append(where | told)
                continue
            before.add(result.text.strip())
            written.rows.append(to_row(context, kind, turns, seed))
            written.of.append((context, kind))
    return written


def to_row(context: ImageContext, kind: str, turns: Turns, seed: int) -> dict[str, Any]:
    """A row of LLaVA's training JSON; ``<image>`` before or after the first question."""
    rng = random.Random(f'{seed}/{context.id}/{kind}')
    talk = []
    for number, (question, answer) in enumerate(turns):
        question = question or rng.choice(DETAIL_QUESTIONS)
        if number == 0:
            sides = (f'{IMAGE_TAG}\n{question}', f'{question}\n{IMAGE_TAG}')
            question = rng.choice(sides)
        talk += [{'from': 'human', 'value': question}, {'from': 'gpt', 'value': answer}]
    return dict(id=context.id, image=context.file, conversations=talk)
