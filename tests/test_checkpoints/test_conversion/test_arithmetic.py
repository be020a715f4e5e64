"""The fast float16 sum is numpy's (and torch's), bit for bit; products run on one thread."""

import numpy as np
import pytest
import torch

from mmllava.checkpoints.conversion.arithmetic import (
    BLOCK_VALUES,
    HalfAdder,
    _functions,
    _libraries,
    one_thread,
)

EVERY = np.arange(2**16, dtype=np.uint16).view(np.float16)
FINITE = EVERY[np.isfinite(EVERY)]


def fast(a, b):
    total = a.copy()
    HalfAdder().add(total, b)
    return total


def assert_same_sums(a, b):
    with np.errstate(over='ignore'):
        expected = a + b
    found, kept = fast(a, b), np.isfinite(expected)
    assert np.array_equal(found[kept].view(np.uint16), expected[kept].view(np.uint16))
    assert not np.isfinite(found[~kept]).any()  # beyond float16: Inf or NaN, and refused


@pytest.mark.parametrize('value', [0.0, -0.0, 6e-8, -6e-8, 6.1e-5, 1.0, -1.0005, 2048, -65504])
def test_every_number_plus_one_number(value):
    other = np.full_like(FINITE, value)
    assert_same_sums(FINITE, other)
    assert_same_sums(other, FINITE)


def test_every_number_plus_itself_its_negative_and_its_neighbours():
    for other in (FINITE, -FINITE, np.roll(FINITE, 1), -np.roll(FINITE, 1)):
        assert_same_sums(FINITE, other)


@pytest.mark.parametrize('scale', [1e-7, 1e-4, 0.02, 30.0])
def test_random_numbers_of_every_size(scale):
    random = np.random.default_rng(0)
    a, b = random.standard_normal((2, 3 * BLOCK_VALUES + 5)).astype(np.float16)
    assert_same_sums(a, (b * np.float32(scale)).astype(np.float16))
    pairs = random.choice(FINITE, (2, 500_000))  # any two bit patterns
    assert_same_sums(*pairs)


def test_torch_agrees():
    a, b = np.random.default_rng(1).choice(FINITE, (2, 200_000))
    expected = (torch.from_numpy(a) + torch.from_numpy(b)).numpy()
    kept = np.isfinite(expected)
    assert np.array_equal(fast(a, b)[kept].view('u2'), expected[kept].view('u2'))


def test_inf_and_nan_are_seen_wherever_they_lie():
    adder = HalfAdder()
    assert adder.all_finite(FINITE) and adder.all_finite(FINITE[:0])
    for bad in EVERY[~np.isfinite(EVERY)]:
        assert not adder.all_finite(np.array([bad]))
    values = np.zeros(5 * BLOCK_VALUES, np.float16)
    values[-1] = -np.inf
    assert not adder.all_finite(values)


def threads():
    return [functions[0]() for functions in map(_functions, _libraries()) if functions]


def test_the_number_of_threads_is_given_back():
    np.ones((2, 2)) @ np.ones((2, 2))
    before = threads()
    with one_thread():
        assert threads() == [1] * len(before)
    assert threads() == before


def test_numpys_own_library_is_found_where_it_has_one():
    config = np.show_config(mode='dicts')['Build Dependencies']['blas']['name']
    assert bool(threads()) == ('openblas' in config)
