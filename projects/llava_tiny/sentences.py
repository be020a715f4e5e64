"""Writes text about a scene: captions, a description, questions with answers."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from projects.llava_tiny.scenes import (
    COLORS,
    HELD_OUT,
    HELD_OUT_ORDER,
    KINDS,
    NEW_COLOR,
    PLACES,
    Scene,
    Thing,
)

NUMBERS = ('no', 'one', 'two', 'three', 'four')
ON = dict(grass='the grass', blanket='a blanket', table='a table', rug='a rug')
AT = dict(left='on the left', middle='in the middle', right='on the right')
#: kinds of question that are scored
SCORED = ('count', 'color', 'position', 'yes/no')
_OPPOSITE = dict(left='right', right='left')


@dataclass(frozen=True)
class Question:
    """Question of one kind, its answer in a word, and the same in a sentence."""

    kind: str
    text: str
    short: str
    sentence: str


def captions(scene: Scene) -> list[str]:
    """Writes five captions, worded differently; things come from left to right."""
    plain, sized = list_things(scene.things), list_things(scene.things, sizes=True)
    where = ON[scene.surface]
    verb = _be(_first_count(scene))
    return [
        f'{_capital(plain)} on {where}.',
        f'There {verb} {plain} on {where}.',
        f'On {where} there {verb} {sized}.',
        f'The picture shows {plain} on {where}.',
        f'A drawing of {sized} on {where}.',
    ]


def describe(scene: Scene) -> str:
    """Writes the number of things and their surface, then a sentence for each, left to right."""
    count = len(scene.things)
    noun = 'thing' if count == 1 else 'things'
    parts = [f'There {_be(count)} {NUMBERS[count]} {noun} on {ON[scene.surface]}.']
    parts += [
        f'{_capital(_one(f"{t.size} {t.color} {t.kind}"))} is {AT[t.place]}.' for t in scene.things
    ]
    return ' '.join(parts)


def list_things(things: Sequence[Thing], sizes: bool = False) -> str:
    """``a red cat, two blue balls and a green tree``; those that are alike are counted."""
    groups: dict[tuple[str, str], list[Thing]] = {}
    for thing in things:
        groups.setdefault((thing.color, thing.kind), []).append(thing)
    words = []
    for (color, kind), alike in groups.items():
        same = {thing.size for thing in alike}
        look = f'{alike[0].size} {color}' if sizes and len(same) == 1 else color
        count = len(alike)
        one = _one(f'{look} {kind}')
        words.append(one if count == 1 else f'{NUMBERS[count]} {look} {plural(kind)}')
    return _join(words)


def plural(kind: str) -> str:
    """Returns the plural of a kind."""
    return kind if kind == 'fish' else f'{kind}s'


def ask(kind: str, scene: Scene, rng: random.Random) -> Question | None:
    """Asks a question of a kind, a key of `ASKERS`; None if the scene has none."""
    return ASKERS[kind](scene, rng)


def ask_again(wanted: Question, scene: Scene) -> Question | None:
    """Repeats a question in the same words, with the answer that another scene gives it.

    None where that scene has none, or where 200 tries did not bring it up.
    """
    rng = random.Random(wanted.text)
    for _ in range(200):
        question = ask(wanted.kind, scene, rng)
        if question and question.text == wanted.text:
            return question
    return None


def _count(scene: Scene, rng: random.Random) -> Question:
    kinds = [thing.kind for thing in scene.things]
    luck = rng.random()
    if luck < 0.2:
        count, noun = len(kinds), ('thing', 'things')
    else:
        kind = rng.choice(KINDS if luck < 0.3 else kinds)
        count, noun = kinds.count(kind), (kind, plural(kind))
    text = rng.choice(['How many {} are there?', 'How many {} do you see?']).format(noun[1])
    said = f'{NUMBERS[count]} {noun[count != 1]}'
    return Question('count', text, str(count), f'There {_be(count)} {said}.')


def _color(scene: Scene, rng: random.Random) -> Question | None:
    alone = [t for t in scene.things if _alone(t, scene)]
    if not alone:
        return None
    thing = rng.choice(alone)
    form = rng.choice(
        ['What color is the {}?', 'What colour is the {}?', 'Which color has the {}?']
    )
    sentence = f'The {thing.kind} is {thing.color}.'
    return Question('color', form.format(thing.kind), _capital(thing.color), sentence)


def _position(scene: Scene, rng: random.Random) -> Question | None:
    pair = _pair(scene, rng)
    if pair is None or rng.random() < 0.6:
        named = [t for t in scene.things if _name(t, scene)]
        if not named:
            return None
        thing = rng.choice(named)
        name = _name(thing, scene)
        sentence = f'The {name} is {AT[thing.place]}.'
        return Question('position', f'Where is the {name}?', _capital(thing.place), sentence)
    one, other = pair
    names = _name(one, scene), _name(other, scene)
    side = 'left' if one.x < other.x else 'right'
    text = 'Is the {} left or right of the {}?'.format(*names)
    sentence = f'The {names[0]} is {side} of the {names[1]}.'
    return Question('position', text, _capital(side), sentence)


def _yes_no(scene: Scene, rng: random.Random) -> Question | None:
    luck, yes = rng.random(), rng.random() < 0.5
    if luck < 0.5:
        return _is_there(scene, rng, yes)
    return (_is_it if luck < 0.75 else _is_it_left)(scene, rng, yes)


def _is_there(scene: Scene, rng: random.Random, yes: bool) -> Question:
    looks = {(t.color, t.kind) for t in scene.things}
    if yes:
        color, kind = rng.choice(sorted(looks))
    else:
        color, kind = rng.choice(sorted(looks))
        while (color, kind) in looks or (color, kind) in HELD_OUT:
            change = rng.random()
            color = rng.choice((*COLORS, NEW_COLOR)) if change < 0.6 else color
            kind = rng.choice(KINDS) if change > 0.4 else kind
    name = f'{color} {kind}'
    text = rng.choice(['Is there {}?', 'Do you see {}?']).format(_one(name))
    sentence = f'Yes, there is {_one(name)}.' if yes else f'No, there is no {name}.'
    return Question('yes/no', text, 'Yes' if yes else 'No', sentence)


def _is_it(scene: Scene, rng: random.Random, yes: bool) -> Question | None:
    alone = [t for t in scene.things if _alone(t, scene)]
    if not alone:
        return None
    thing = rng.choice(alone)
    others = [c for c in COLORS if c != thing.color and (c, thing.kind) not in HELD_OUT]
    near = [c for c in others if any(t.color == c for t in scene.things)]
    asked = thing.color if yes else rng.choice(near if near and rng.random() < 0.5 else others)
    sentence = f'{"Yes" if yes else "No"}, the {thing.kind} is {thing.color}.'
    return Question('yes/no', f'Is the {thing.kind} {asked}?', 'Yes' if yes else 'No', sentence)


def _is_it_left(scene: Scene, rng: random.Random, yes: bool) -> Question | None:
    pair = _pair(scene, rng)
    if pair is None:
        return None
    one, other = pair
    side = 'left' if one.x < other.x else 'right'
    asked = side if yes else _OPPOSITE[side]
    names = _name(one, scene), _name(other, scene)
    text = f'Is the {names[0]} {asked} of the {names[1]}?'
    sentence = f'the {names[0]} is {side} of the {names[1]}.'
    answer = 'Yes' if yes else 'No'
    return Question('yes/no', text, answer, f'{answer}, {sentence}')


def _what(scene: Scene, rng: random.Random) -> Question:
    place = rng.choice(tuple(PLACES))
    there = [t for t in scene.things if t.place == place]
    listed = list_things(there) if there else 'nothing'
    sentence = f'{_capital(listed)} {_be(max(1, len(there)))} {AT[place]}.'
    return Question('what', f'What is {AT[place]}?', _capital(listed), sentence)


def _surface(scene: Scene, rng: random.Random) -> Question:
    text = rng.choice(['What are the things on?', 'What is below the things?'])
    return Question('surface', text, _capital(scene.surface), f'They are on {ON[scene.surface]}.')


def _list(scene: Scene, rng: random.Random) -> Question:
    text = rng.choice(
        ['What is in the picture?', 'What do you see?', f'What is on the {scene.surface}?']
    )
    listed = list_things(scene.things)
    verb = _be(_first_count(scene))
    sentence = f'There {verb} {listed} on {ON[scene.surface]}.'
    return Question('list', text, _capital(listed), sentence)


def _missing(scene: Scene, rng: random.Random) -> Question:
    kind = rng.choice([k for k in KINDS if all(t.kind != k for t in scene.things)])
    text = rng.choice(['What color is the {}?', 'Where is the {}?']).format(kind)
    return Question('missing', text, f'There is no {kind}', f'There is no {kind}.')


def _imagine(scene: Scene, rng: random.Random) -> Question:
    """Asks for colours that are absent, also those that no training image has."""
    color = rng.choice(COLORS)
    alone = [t for t in scene.things if _alone(t, scene)]
    if alone and rng.random() < 0.5:
        changed = rng.choice(alone)
        text = f'What if the {changed.kind} was {color}?'
    else:
        changed = None
        text = f'What if all things were {color}?'
    things = [replace(t, color=color) if changed in (None, t) else t for t in scene.things]
    listed = list_things(things)
    sentence = f'There would be {listed} on {ON[scene.surface]}.'
    return Question('imagine', text, _capital(listed), sentence)


#: kind of question -> what asks it of a scene
ASKERS: dict[str, Callable[[Scene, random.Random], Question | None]] = {
    'count': _count,
    'color': _color,
    'position': _position,
    'yes/no': _yes_no,
    'what': _what,
    'surface': _surface,
    'list': _list,
    'missing': _missing,
    'imagine': _imagine,
}


def _first_count(scene: Scene) -> int:
    first = scene.things[0]
    return sum((t.color, t.kind) == (first.color, first.kind) for t in scene.things)


def _alone(thing: Thing, scene: Scene) -> bool:
    return sum(t.kind == thing.kind for t in scene.things) == 1


def _name(thing: Thing, scene: Scene) -> str | None:
    """Names a thing unambiguously; None if several are alike."""
    if _alone(thing, scene):
        return thing.kind
    alike = sum((t.color, t.kind) == (thing.color, thing.kind) for t in scene.things)
    return f'{thing.color} {thing.kind}' if alike == 1 else None


def _pair(scene: Scene, rng: random.Random) -> tuple[Thing, Thing] | None:
    """Draws two things with unambiguous names; not those whose order training never shows."""
    named = [t for t in scene.things if _name(t, scene)]
    if len(named) < 2:
        return None
    one, other = rng.sample(named, 2)
    return None if {one.kind, other.kind} == set(HELD_OUT_ORDER) else (one, other)


def _one(words: str) -> str:
    return f'{"an" if words[0] in "aeiou" else "a"} {words}'


def _be(count: int) -> str:
    return 'is' if count == 1 else 'are'


def _join(words: Sequence[str]) -> str:
    return ' and '.join(filter(None, [', '.join(words[:-1]), words[-1]]))


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
