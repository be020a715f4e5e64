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
#: questions of every kind
_KINDS = (
    *('count', 'color', 'position', 'yes/no', 'yes/no', 'what', 'surface', 'list', 'missing'),
    *('imagine', 'imagine'),
)
#: questions whose answers are in the picture alone; few give away those that come after
_SEEN = (
    *('count', 'count', 'color', 'color', 'color', 'position', 'position', 'position'),
    *('yes/no', 'yes/no', 'yes/no', 'what', 'surface'),
)
_FIRST, _SECOND = 'in the first picture', 'in the second picture'

Pair = tuple[str, str]  # what is asked, what is answered


def alignment_row(scene: Scene, image: str, rng: random.Random) -> dict[str, Any]:
    """All that is in a picture, in one text: a description, then a caption.

    Every third goes on with what would be there if all things had another colour: words for
    what no picture of training has.
    """
    text = f'{describe(scene)} {rng.choice(captions(scene))}'
    if rng.random() < 1 / 3:
        color = rng.choice(COLORS)
        listed = list_things([replace(thing, color=color) for thing in scene.things])
        text += f' If all things were {color}, there would be {listed}.'
    return dict(image=image, caption=text)


def talk_row(scene: Scene, image: str, rng: random.Random) -> dict[str, Any]:
    """A conversation about one picture.

    In most of them questions come before anything is said of the picture, so that there is
    nowhere else to look for the answers.
    """
    luck = rng.random()
    caption = captions(scene)[0] if rng.random() < 0.5 else rng.choice(captions(scene))
    if luck < 0.1:
        pairs = [(CAPTION, caption)]
    elif luck < 0.55:
        pairs = _short(scene, rng, 8)
    elif luck < 0.85:
        pairs = _open(scene, rng, 5, _SEEN)
        if rng.random() < 0.5:
            pairs.append(rng.choice([(CAPTION, caption), (DESCRIBE, describe(scene))]))
    else:
        first = rng.choice([(CAPTION, caption), (DESCRIBE, describe(scene))])
        pairs = [first, *_open(scene, rng, 3, _KINDS)]
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
    """A conversation in which a second picture comes, and then what was asked of the first.

    At times questions about either follow, which say which.
    """
    first, second = scenes
    asked = _questions(first, rng, 4, _SEEN)
    shared = next((k for k in range(4) if ask_again(asked[k], second)), 3)
    before = asked[max(0, shared - rng.randrange(3)) : shared + 1]
    again = ask_again(before[-1], second)
    after = [again] if again else []
    after += [q for q in _questions(second, rng, 2, _SEEN) if not again or q.text != again.text]
    pairs = _with_picture(_sentences(before)) + _with_picture(_sentences(after))
    if rng.random() < 0.5:
        for scene, which in rng.sample([(first, _FIRST), (second, _SECOND)], 2):
            # "What is in the picture?" has no place for it.
            (question,) = _questions(scene, rng, 1, SCORED)
            pairs.append((_insert(question.text, which), question.sentence))
    return _row(list(images), pairs)


def _questions(scene: Scene, rng: random.Random, count: int, kinds: Sequence[str]) -> list[Question]:
    """Different questions, of kinds by chance."""
    found: list[Question] = []
    while len(found) < count:
        question = ask(rng.choice(kinds), scene, rng)
        if question and all(question.text != other.text for other in found):
            found.append(question)
    return found


def _open(scene: Scene, rng: random.Random, count: int, kinds: Sequence[str]) -> list[Pair]:
    return _sentences(_questions(scene, rng, count, kinds))


def _sentences(questions: Sequence[Question]) -> list[Pair]:
    return [(question.text, question.sentence) for question in questions]


def _short(scene: Scene, rng: random.Random, count: int) -> list[Pair]:
    """Answers in a word; the wish for it stands in the first question alone, as in LLaVA's."""
    questions = _questions(scene, rng, count, _SEEN)
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
