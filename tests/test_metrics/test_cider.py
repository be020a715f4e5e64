"""CIDEr by hand."""

import math

import pytest

from mmllava.metrics.cider import cider


def test_cider_of_one_image_is_zero():
    assert cider([['a cat']], ['a cat']) == (0, [0])


def test_cider_by_hand():
    # Two images: words of one are worth log 2, words of both nothing. Image 1: 'cat' is shared
    # and so is the bigram 'a cat': cosine 1 for n = 1 and 2; none for 3 and 4.
    # Mean over n is 2/4, times 10: 5. Image 2 shares 'a' only, worth nothing.
    total, each = cider([['a cat'], ['a dog']], ['a cat', 'a bird'])
    assert each == pytest.approx([5, 0])
    assert total == pytest.approx(2.5)


def test_cider_clips_repetition_and_lowers_for_length():
    # 'cat cat cat' against 'cat': weights 3w and w, clipped to w: w*w / (3w*w) = 1/3 for n = 1;
    # no bigram is shared. Bigrams 2 and 0: exp(-4/72). Mean over 4, times 10.
    _, each = cider([['cat'], ['dog']], ['cat cat cat', 'x'])
    assert each == pytest.approx([10 / 4 / 3 * math.exp(-4 / 72), 0])
