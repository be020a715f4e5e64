"""What must hold for every scene: it is the same each time, unambiguous, and of its split."""

import itertools

import pytest

from mmllava.errors import ConfigError
from projects.llava_tiny.scenes import (
    HELD_OUT,
    HELD_OUT_ORDER,
    NEW_COLOR,
    SIDE,
    SIZES,
    SPLITS,
    Thing,
    is_held_out,
    make_scene,
)

SCENES = {split: [make_scene(split, number) for number in range(400)] for split in SPLITS}


def test_a_scene_is_the_same_each_time_and_others_differ():
    assert make_scene('train', 7) == SCENES['train'][7]
    everything = [scene for scenes in SCENES.values() for scene in scenes]
    assert len(set(everything)) == len(everything)


@pytest.mark.parametrize('split', SPLITS)
def test_no_thing_hides_another_leaves_the_picture_or_stands_between_two_places(split):
    for scene in SCENES[split]:
        assert 1 <= len(scene.things) <= 4
        for thing in scene.things:
            half = SIZES[thing.size] / 2
            assert half < thing.x < SIDE - half and half < thing.y < SIDE - half + 1
            assert not 36 < thing.x < 44 and not 68 < thing.x < 76
        for one, other in itertools.pairwise(scene.things):
            assert other.x - one.x >= 13
        for one, other in itertools.combinations(scene.things, 2):
            need = (SIZES[one.size] + SIZES[other.size]) / 2 - 1
            assert max(abs(one.x - other.x), abs(one.y - other.y)) >= need


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_training_never_shows_what_is_held_out(split):
    for scene in SCENES[split]:
        assert not {(thing.color, thing.kind) for thing in scene.things} & set(HELD_OUT)
        kinds = [thing.kind for thing in scene.things]
        first, second = HELD_OUT_ORDER
        if first in kinds and second in kinds:
            assert kinds.index(first) > len(kinds) - 1 - kinds[::-1].index(second)


def test_every_held_out_scene_shows_it_and_all_of_it_comes():
    looks = [{(t.color, t.kind) for t in scene.things} for scene in SCENES['held-out']]
    assert set().union(*looks) >= set(HELD_OUT)
    orders = [scene for scene, own in zip(SCENES['held-out'], looks, strict=True)
              if not own & set(HELD_OUT)]  # fmt: skip
    assert orders and all(is_held_out(scene.things) for scene in orders)


def test_the_order_that_is_held_out_is_that_one_alone():
    def pair(dog, car):
        return [Thing('dog', 'red', 'big', dog, 50), Thing('car', 'red', 'big', car, 50)]

    assert is_held_out(pair(20, 60)) and not is_held_out(pair(60, 20))


def test_a_scene_can_be_had_with_the_new_colour_and_no_other_has_it():
    assert not any(t.color == NEW_COLOR for s in SCENES['train'] for t in s.things)
    for number in range(50):
        colors = [thing.color for thing in make_scene('test', number, NEW_COLOR).things]
        assert NEW_COLOR in colors


def test_an_unknown_split_is_refused():
    with pytest.raises(ConfigError, match="unknown split 'trian'. Did you mean train"):
        make_scene('trian', 0)
