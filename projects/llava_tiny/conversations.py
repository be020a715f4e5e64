"""Writes conversations about scenes, as records of LLaVA's training JSON."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from mmllava.prompts.presets import get_preset
from mmllava.structures import IMAGE_TAG
from projects.llava_tiny.scenes import KINDS, Scene
from projects.llava_tiny.sentences import (
    NUMBERS,
    SCORED,
    Question,
    ask,
    ask_again,
    captions,
    describe,
)

CAPTION = get_preset('coco_short').prompt
DESCRIBE = get_preset('describe').prompt
#: asks for an answer in a word
SHORT = get_preset('vqa_short').suffix
_KINDS = (
    *('count', 'color', 'position', 'yes/no', 'yes/no', 'what', 'surface', 'list', 'missing'),
    *('imagine', 'imagine'),
)
#: questions whose answers do not list what is there, most often those that are scored
_ASKED = (*SCORED, *SCORED, 'color', 'position', 'yes/no', 'what', 'surface')
_FIRST, _SECOND = 'in the first picture', 'in the second picture'

Pair = tuple[str, str]  # what is asked, what is answered


def align_row(scene: Scene, image: str, rng: random.Random) -> dict[str, Any]:
    """States facts about a scene in any order, a few words each: ``color cat red. number dog two.``

    ``look one two red cat.``: the first kind and colour from the left is a red cat, of two.

    What is looked up stands right before what is found, so that one step finds it; answers to
    questions, and captions, take two.
    """
    facts = []
    for kind in KINDS:
        things = [thing for thing in scene.things if thing.kind == kind]
        if things or rng.random() < 0.15:
            facts.append(f'number {kind} {NUMBERS[len(things)]}.')
        if len(things) == 1:
            (thing,) = things
            facts.append(f'color {kind} {thing.color}.')
            facts.append(f'place {kind} {thing.place}.')
            facts.append(f'size {kind} {thing.size}.')
    facts += [f'thing {NUMBERS[k]} {t.color} {t.kind}.' for k, t in enumerate(scene.things, 1)]
    looks = Counter((thing.color, thing.kind) for thing in scene.things)
    for k, ((color, kind), count) in enumerate(looks.items(), 1):
        facts.append(f'look {NUMBERS[k]} {NUMBERS[count]} {color} {kind}.')
    rng.shuffle(facts)
    return dict(image=image, caption=' '.join(facts))


def talk_row(scene: Scene, image: str, rng: random.Random) -> dict[str, Any]:
    """Draws a conversation of any kind; most have questions before any description."""
    luck = rng.random()
    caption = captions(scene)[0] if rng.random() < 0.5 else rng.choice(captions(scene))
    told = rng.choice([(CAPTION, caption), (DESCRIBE, describe(scene))])
    if luck < 0.2:
        pairs = [(CAPTION, caption)]
    elif luck < 0.6:
        pairs = _short(scene, rng, 8, _ASKED)
    elif luck < 0.87:
        pairs = _open(scene, rng, 5, (*_ASKED, 'missing'))
        pairs += [told] * (rng.random() < 0.5)
    else:
        pairs = [told, *_open(scene, rng, 3)]
    return _row([image], _with_image(pairs))


def imagined_row(scene: Scene, rng: random.Random) -> dict[str, Any]:
    """Writes a conversation without an image, about an imagined one: it teaches words."""
    if rng.random() < 0.5:
        pair = ('Describe a picture that you imagine.', describe(scene))
    else:
        pair = ('Caption a picture that you imagine.', rng.choice(captions(scene)))
    return _row([], [pair])


def second_image_row(
    scenes: Sequence[Scene], images: Sequence[str], rng: random.Random
) -> dict[str, Any]:
    """Writes a conversation about a first image, then about a second, with a question repeated.

    Half of them end with questions about either, which name it.
    """
    first, second = scenes
    asked = _questions(first, rng, 4, kinds=_ASKED)
    shared = next((k for k in range(4) if ask_again(asked[k], second)), 3)
    before = asked[max(0, shared - rng.randrange(3)) : shared + 1]
    again = ask_again(before[-1], second)
    after = [again] if again else []
    new = _questions(second, rng, 2, kinds=_ASKED)
    after += [q for q in new if not again or q.text != again.text]
    pairs = _with_image(_sentences(before)) + _with_image(_sentences(after))
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
    """Draws distinct questions of random kinds."""
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
    """Answers in a word; the format prompt stands in the first question alone, as in LLaVA's."""
    questions = _questions(scene, rng, count, kinds=kinds)
    return [(q.text + SHORT * (k == 0), q.short) for k, q in enumerate(questions)]


def _insert(question: str, which: str) -> str:
    return f'{question.removesuffix("?")} {which}?'


def _with_image(pairs: Sequence[Pair]) -> list[Pair]:
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
