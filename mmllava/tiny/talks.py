"""Floor 3. Conversations about scenes, as rows of LLaVA's training JSON."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mmllava.prompts.presets import get_preset
from mmllava.structures import IMAGE_TAG
from mmllava.tiny.scenes import COLORS, Scene
from mmllava.tiny.sentences import (
    SCORED,
    Question,
    ask,
    ask_again,
    captions,
    describe,
    list_things,
)

CAPTION = get_preset('coco_short').prompt
DESCRIBE = get_preset('describe').prompt
#: asks for an answer in a word
SHORT = get_preset('vqa_short').suffix
_KINDS = (
    *('count', 'color', 'position', 'yes/no', 'yes/no', 'what', 'surface', 'list', 'missing'),
    *('imagine', 'imagine'),
)
#: questions whose answers do not list what is there
_SEEN = ('count', 'color', 'color', 'position', 'position', 'yes/no', 'yes/no', 'what', 'surface')
#: the same, more of those that are scored
_ASKED = (*_SEEN, *SCORED)
_FIRST, _SECOND = 'in the first picture', 'in the second picture'

Pair = tuple[str, str]  # what is asked, what is answered


def alignment_row(scene: Scene, image: str, rng: random.Random) -> dict[str, Any]:
    """All that is in a picture, in one text: a description, then a caption."""
    return dict(image=image, caption=f'{describe(scene)} {rng.choice(captions(scene))}')


def look_row(scene: Scene, image: str, rng: random.Random) -> dict[str, Any]:
    """The same, and what would be there if all things had another colour."""
    row, color = alignment_row(scene, image, rng), rng.choice(COLORS)
    listed = list_things([replace(thing, color=color) for thing in scene.things])
    row['caption'] += f' If all things were {color}, there would be {listed}.'
    return row


def talk_row(scene: Scene, image: str, rng: random.Random) -> dict[str, Any]:
    """A conversation about one picture."""
    luck = rng.random()
    if luck < 0.25:
        text = captions(scene)[0] if rng.random() < 0.5 else rng.choice(captions(scene))
        pairs = [(CAPTION, text), *_open(scene, rng, 3)]
    elif luck < 0.55:
        pairs = [(DESCRIBE, describe(scene)), *_open(scene, rng, 3)]
    elif luck < 0.8:
        pairs = _short(scene, rng, 6)
    else:
        pairs = _open(scene, rng, 5)
    return _row([image], _with_picture(pairs))


def ask_row(scene: Scene, image: str, rng: random.Random) -> dict[str, Any]:
    """Questions before anything is said of the picture: the answers are in the picture alone."""
    luck = rng.random()
    if luck < 0.15:
        pairs = [(CAPTION, captions(scene)[0])]
    elif luck < 0.6:
        pairs = _short(scene, rng, 6, _SEEN)
    else:
        pairs = _open(scene, rng, 4, _SEEN)
        last = (CAPTION, captions(scene)[0]) if rng.random() < 0.5 else (DESCRIBE, describe(scene))
        pairs.append(last)
    return _row([image], _with_picture(pairs))


def answer_row(scene: Scene, image: str, rng: random.Random) -> dict[str, Any]:
    """All kinds of conversation; in most, questions come before anything is said of the picture."""
    luck = rng.random()
    caption = captions(scene)[0] if rng.random() < 0.5 else rng.choice(captions(scene))
    told = rng.choice([(CAPTION, caption), (DESCRIBE, describe(scene))])
    if luck < 0.1:
        pairs = [(CAPTION, caption)]
    elif luck < 0.55:
        pairs = _short(scene, rng, 8, _ASKED)
    elif luck < 0.85:
        pairs = _open(scene, rng, 5, _ASKED)
        pairs += [told] * (rng.random() < 0.5)
    else:
        pairs = [told, *_open(scene, rng, 3)]
    return _row([image], _with_picture(pairs))


def imagined_row(scene: Scene, rng: random.Random) -> dict[str, Any]:
    """What could be in a picture, without one: words for whatever there may be."""
    if rng.random() < 0.5:
        pair = ('Describe a picture that you imagine.', describe(scene))
    else:
        pair = ('Caption a picture that you imagine.', rng.choice(captions(scene)))
    return _row([], [pair])


def two_pictures_row(
    scenes: Sequence[Scene], images: Sequence[str], rng: random.Random
) -> dict[str, Any]:
    """A conversation in which a second picture comes; then questions about either."""
    first, second = scenes
    before, after = _open(first, rng, 2), _open(second, rng, 2)
    for scene, which in rng.sample([(first, _FIRST), (second, _SECOND)], 2):
        # "What is in the picture?" and "Is the cat red?" have no place for it.
        after += [(_insert(q.text, which), q.sentence) for q in _questions(scene, rng, 1, which)]
    return _row(list(images), _with_picture(before) + _with_picture(after))


def second_picture_row(
    scenes: Sequence[Scene], images: Sequence[str], rng: random.Random
) -> dict[str, Any]:
    """A conversation in which a second picture comes, and then what was asked of the first.

    At times questions about either follow, which say which.
    """
    first, second = scenes
    asked = _questions(first, rng, 4, kinds=_ASKED)
    shared = next((k for k in range(4) if ask_again(asked[k], second)), 3)
    before = asked[max(0, shared - rng.randrange(3)) : shared + 1]
    again = ask_again(before[-1], second)
    after = [again] if again else []
    new = _questions(second, rng, 2, kinds=_ASKED)
    after += [q for q in new if not again or q.text != again.text]
    pairs = _with_picture(_sentences(before)) + _with_picture(_sentences(after))
    if rng.random() < 0.5:
        for scene, which in rng.sample([(first, _FIRST), (second, _SECOND)], 2):
            (question,) = _questions(scene, rng, 1, which, SCORED)
            pairs.append((_insert(question.text, which), question.sentence))
    return _row(list(images), pairs)


def _questions(
    scene: Scene,
    rng: random.Random,
    count: int,
    which: str = '',
    kinds: Sequence[str] = _KINDS,
) -> list[Question]:
    """Different questions, of kinds by chance."""
    found: list[Question] = []
    while len(found) < count:
        question = ask(rng.choice(kinds), scene, rng)
        if question is None or any(question.text == other.text for other in found):
            continue
        if which and question.kind in ('what', 'surface', 'list', 'imagine'):
            continue
        found.append(question)
    return found


def _open(
    scene: Scene, rng: random.Random, count: int, kinds: Sequence[str] = _KINDS
) -> list[Pair]:
    return _sentences(_questions(scene, rng, count, kinds=kinds))


def _sentences(questions: Sequence[Question]) -> list[Pair]:
    return [(question.text, question.sentence) for question in questions]


def _short(
    scene: Scene, rng: random.Random, count: int, kinds: Sequence[str] = _KINDS
) -> list[Pair]:
    """Answers in a word; the wish for it stands in the first question alone, as in LLaVA's."""
    questions = _questions(scene, rng, count, kinds=kinds)
    return [(q.text + SHORT * (k == 0), q.short) for k, q in enumerate(questions)]


def _insert(question: str, which: str) -> str:
    return f'{question.removesuffix("?")} {which}?'


def _with_picture(pairs: Sequence[Pair]) -> list[Pair]:
    (question, answer), *rest = pairs
    return [(f'{IMAGE_TAG}\n{question}', answer), *rest]


def _row(images: list[str], pairs: Sequence[Pair]) -> dict[str, Any]:
    turns = [
        {'from': speaker, 'value': text}
        for pair in pairs
        for speaker, text in zip(('human', 'gpt'), pair, strict=True)
    ]
    seen = dict(image=images[0] if len(images) == 1 else images) if images else {}
    return dict(seen, conversations=turns)
