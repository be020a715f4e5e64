"""What is said of a scene is so: worked by hand for one, checked for many."""

import itertools
import random
import re

import pytest

from projects.llava_tiny.caption_check import facts_of, is_right, read_facts
from projects.llava_tiny.scenes import HELD_OUT, Scene, Thing, make_scene
from projects.llava_tiny.sentences import ASKERS, SCORED, ask, captions, describe

SCENE = Scene(
    'grass',
    (
        Thing('cat', 'orange', 'big', 20, 60),
        Thing('fish', 'red', 'small', 50, 60),
        Thing('fish', 'red', 'small', 66, 90),
        Thing('dog', 'red', 'big', 90, 60),
    ),
)


def all_of(kind, scene=SCENE, tries=900):
    rng = random.Random(0)
    found = (ask(kind, scene, rng) for _ in range(tries))
    return {(q.text, q.short, q.sentence) for q in found if q}


def test_five_captions_worked_by_hand():
    assert captions(SCENE) == [
        'An orange cat, two red fish and a red dog on the grass.',
        'There is an orange cat, two red fish and a red dog on the grass.',
        'On the grass there is a big orange cat, two small red fish and a big red dog.',
        'The picture shows an orange cat, two red fish and a red dog on the grass.',
        'A drawing of a big orange cat, two small red fish and a big red dog on the grass.',
    ]


def test_a_description_worked_by_hand():
    assert describe(SCENE) == (
        'There are four things on the grass. A big orange cat is on the left. A small red fish '
        'is in the middle. A small red fish is in the middle. A big red dog is on the right.'
    )


@pytest.mark.parametrize(
    ('kind', 'wanted'),
    [
        ('count', ('How many fish are there?', '2', 'There are two fish.')),
        ('count', ('How many cats do you see?', '1', 'There is one cat.')),
        ('count', ('How many stars are there?', '0', 'There are no stars.')),
        ('count', ('How many things are there?', '4', 'There are four things.')),
        ('color', ('What color is the cat?', 'Orange', 'The cat is orange.')),
        ('position', ('Where is the dog?', 'Right', 'The dog is on the right.')),
        ('position', ('Is the cat left or right of the dog?', 'Left',
                      'The cat is left of the dog.')),
        ('yes/no', ('Is there a red dog?', 'Yes', 'Yes, there is a red dog.')),
        ('yes/no', ('Is the dog left of the cat?', 'No', 'No, the dog is right of the cat.')),
        ('yes/no', ('Is the cat orange?', 'Yes', 'Yes, the cat is orange.')),
        ('what', ('What is in the middle?', 'Two red fish', 'Two red fish are in the middle.')),
        ('surface', ('What are the things on?', 'Grass', 'They are on the grass.')),
        ('missing', ('Where is the boat?', 'There is no boat', 'There is no boat.')),
        ('imagine', (
            'What if all things were blue?', 'A blue cat, two blue fish and a blue dog',
            'There would be a blue cat, two blue fish and a blue dog on the grass.')),
    ],
)  # fmt: skip
def test_questions_worked_by_hand(kind, wanted):
    assert wanted in all_of(kind)


def test_what_could_mean_two_things_is_not_asked():
    texts = {text for kind in ASKERS for text, _, _ in all_of(kind)}
    assert not [text for text in texts if re.search(r'\bthe (red )?fish\b', text)]


def test_training_is_never_asked_for_what_is_held_out():
    rng = random.Random(1)
    for number in range(300):
        question = ask('yes/no', make_scene('train', number), rng)
        text = question.text if question else ''
        assert not [look for look in HELD_OUT if ' '.join(look) in text]
        assert not {'dog', 'car'} <= set(re.findall(r'\w+', text))


@pytest.mark.slow
def test_yes_and_no_come_equally_often():
    rng = random.Random(2)
    found = [ask('yes/no', make_scene('test', number % 300), rng) for number in range(2000)]
    answers = [question.short for question in found if question]
    assert 0.46 < answers.count('Yes') / len(answers) < 0.54


@pytest.mark.parametrize('split', ['test', 'held-out'])
def test_every_caption_of_a_scene_is_right_of_it_and_wrong_of_another(split):
    scenes = [make_scene(split, number) for number in range(200)]
    for scene, other in itertools.pairwise(scenes):
        for text in captions(scene):
            assert read_facts(text) == facts_of(scene)
            if facts_of(other).looks != facts_of(scene).looks:
                assert not is_right(text, other)


@pytest.mark.parametrize(
    'text',
    [
        'An orange cat, one red fish and a red dog on the grass.',
        'An orange cat, two red fish and a black dog on the grass.',
        'An orange cat, two red fish, a red dog and a red dog on the grass.',
        'An orange cat and two red fish on the grass.',
        '',
    ],
)
def test_a_caption_with_a_fault_is_wrong(text):
    assert is_right(captions(SCENE)[4], SCENE) and not is_right(text, SCENE)


def test_every_kind_that_is_scored_can_be_asked():
    assert all(all_of(kind) for kind in SCORED)
