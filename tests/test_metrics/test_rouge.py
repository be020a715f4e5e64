"""ROUGE-L by hand, and the longest common subsequence by the usual table."""

import random

import pytest

from mmllava.metrics.rouge import common_length, rouge_l


def test_rouge_takes_precision_and_recall_from_different_references():
    # caption of 4; 'a b' in order of the first (2 words: recall 1, precision 2/4);
    # 3 of the second's 6 (precision 3/4, recall 3/6): P = 3/4, R = 1.
    _, each = rouge_l([['a b', 'a b c x y z']], ['a b c d'])
    p, r = 3 / 4, 1.0
    assert each == [pytest.approx((1 + 1.44) * p * r / (r + 1.44 * p))]


def test_rouge_of_an_empty_caption():
    assert rouge_l([['a b'], ['', 'a b']], ['', ''])[1] == [0, 1]


def test_common_length_is_that_of_the_table():
    rng = random.Random(0)
    for _ in range(200):
        left, right = (rng.choices('abcd', k=rng.randint(1, 70)) for _ in range(2))
        table = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
        for i, one in enumerate(left):
            for j, other in enumerate(right):
                best = max(table[i][j + 1], table[i + 1][j])
                table[i + 1][j + 1] = table[i][j] + 1 if one == other else best
        assert common_length(left, right) == table[-1][-1]
