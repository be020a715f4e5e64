"""The order of training, whatever the lengths, the batch and the number of processes."""

from collections import Counter
from types import SimpleNamespace
from unittest.mock import patch

import mmengine.registry
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.registry import DefaultScope

from mmllava.errors import ConfigError
from mmllava.registry import DATA_SAMPLERS
from mmllava.training import samplers
from mmllava.training.samplers import ModalityLengthSampler

WORDS = st.integers(1, 2000)
LENGTHS = st.lists(st.one_of(WORDS, WORDS.map(int.__neg__)), min_size=1, max_size=90)
SIZES = st.integers(1, 4)


def order_of(lengths, batch_size, accumulate, world, seed=3, epoch=0):
    """The orders of all processes."""
    found = []
    for rank in range(world):
        with patch.object(samplers, 'get_dist_info', lambda rank=rank: (rank, world)):
            sampler = ModalityLengthSampler(
                SimpleNamespace(lengths=lengths), batch_size, accumulate, seed
            )
        sampler.set_epoch(epoch)
        found.append(list(sampler))
        assert len(sampler) == len(found[-1])
    return found


def megabatches(orders, batch_size, accumulate):
    """What each optimizer step learns."""
    step = batch_size * accumulate
    steps = range(0, len(orders[0]), step)
    return [[k for order in orders for k in order[at : at + step]] for at in steps]


@given(LENGTHS, SIZES, SIZES, SIZES)
def test_each_index_comes_once_and_a_few_first_ones_twice(lengths, batch, accumulate, world):
    orders = order_of(lengths, batch, accumulate, world)
    assert len({len(order) for order in orders}) == 1  # no process waits for another
    seen = Counter(k for order in orders for k in order)
    assert set(seen) == set(range(len(lengths)))
    assert seen.total() - len(lengths) < world
    if len(lengths) >= world:
        assert max(seen.values()) <= 2


@given(LENGTHS, SIZES, SIZES, SIZES)
def test_a_megabatch_has_one_modality_but_for_what_is_left_at_the_end(
    lengths, batch, accumulate, world
):
    orders = order_of(lengths, batch, accumulate, world)
    size = batch * accumulate * world
    kinds = [{lengths[k] > 0 for k in m} for m in megabatches(orders, batch, accumulate)]
    pictures = sum(length > 0 for length in lengths)
    ends = [-(-count // size) - 1 for count in (pictures, len(lengths) - pictures)]
    whole = sum(ends) if min(ends) >= 0 else len(kinds)
    assert all(len(kind) == 1 for kind in kinds[:whole])
    assert len(kinds) - whole <= 2


@settings(max_examples=max(settings.default.max_examples // 2, 20))
@given(LENGTHS, st.integers(0, 5))
def test_what_a_step_learns_does_not_depend_on_how_it_is_shared_out(lengths, epoch):
    shapes = [(4, 1, 1), (2, 2, 1), (2, 1, 2), (1, 2, 2), (1, 1, 4)]
    found = []
    for batch, accumulate, world in shapes:
        orders = order_of(lengths, batch, accumulate, world, epoch=epoch)
        steps = megabatches(orders, batch, accumulate)
        found.append([set(step) for step in steps[: len(lengths) // 4]])
    assert all(steps == found[0] for steps in found)


@settings(max_examples=max(settings.default.max_examples // 2, 20))
@given(st.lists(WORDS, min_size=1, max_size=90), SIZES, SIZES)
def test_samples_of_one_modality_are_grouped_by_length_alone(words, batch, accumulate):
    pictures = order_of(words, batch, accumulate, 1)
    assert pictures == order_of([-length for length in words], batch, accumulate, 1)


def test_seed_and_epoch_decide_the_order_and_nothing_else_does():
    lengths = [*range(1, 60), *range(-40, 0)]
    first = order_of(lengths, 4, 2, 1)
    assert order_of(lengths, 4, 2, 1) == first
    assert order_of(lengths, 4, 2, 1, epoch=1) != first
    assert order_of(lengths, 4, 2, 1, seed=4) != first


def test_batches_are_of_about_one_length():
    lengths = [10] * 40 + [1000] * 40 + [-500] * 20
    (order,) = order_of(lengths, 8, 1, 1)
    batches = [[lengths[k] for k in order[at : at + 8]] for at in range(0, 80, 8)]
    # Only what a random megabatch brings together may differ: within it the longest come first.
    assert all(batch == sorted(batch, reverse=True) for batch in batches[:-2])


def test_the_batches_of_a_step_have_about_as_many_words():
    lengths = [100, 90, 50, 40, 30, 20, 2, 1]
    chunks = samplers._balance(range(8), lengths, 2)
    assert chunks == [[0, 3, 4, 7], [1, 2, 5, 6]]  # 171 and 162 words, by hand
    assert samplers._balance(range(5), [5, 4, 3, 2, 1], 2) == [[0, 2, 4], [1, 3]]


def test_what_is_left_of_both_comes_last_in_the_files_order():
    lengths = [5] * 10 + [-5] * 7
    (order,) = order_of(lengths, 4, 1, 1)
    assert order[12:] == sorted(order[12:])
    assert {lengths[k] for k in order[12:]} == {5, -5}


def test_mmengine_builds_it_by_its_name():
    config = dict(type='mmllava.ModalityLengthSampler', batch_size=2)
    dataset = SimpleNamespace(lengths=[1, -1, 2])
    with DefaultScope.overwrite_default_scope('mmllava'):  # as a runner does
        for registry in (DATA_SAMPLERS, mmengine.registry.DATA_SAMPLERS):
            sampler = registry.build(dict(config), default_args=dict(dataset=dataset, seed=1))
            assert sorted(sampler) == [0, 1, 2]


@pytest.mark.parametrize(
    ('dataset', 'settings', 'message'),
    [
        (SimpleNamespace(lengths=[1]), dict(batch_size=0), 'needs batch_size >= 1, got 0'),
        (
            SimpleNamespace(lengths=[1]),
            dict(batch_size=1, accumulative_counts=0),
            'needs accumulative_counts >= 1',
        ),
        ([1, 2], dict(batch_size=1), 'a list has none. Use mmllava.InstructDataset'),
        (SimpleNamespace(lengths=[3, 0]), dict(batch_size=1), 'sample 1 has length 0'),
    ],
)
def test_what_cannot_be_grouped_is_refused(dataset, settings, message):
    with pytest.raises(ConfigError, match=message):
        list(ModalityLengthSampler(dataset, seed=0, **settings))
