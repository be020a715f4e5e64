"""BLEU by hand."""

import math

import pytest

from mmllava.metrics.bleu import bleu


def test_bleu_counts_a_word_no_more_often_than_a_reference_does():
    # 'the' is in one reference twice, in the other once: 2 of 4 words match; of the
    # bigrams 'the the' matches once (1 of 3): sqrt(2/4 * 1/3).
    total, each = bleu([['the the cat sat', 'on the mat now']], ['the the the the'])
    assert total[:2] == pytest.approx([0.5, math.sqrt(0.5 / 3)], abs=1e-8)
    assert each == [pytest.approx(total)]


def test_bleu_of_a_short_caption_is_lowered_by_the_closest_length():
    # 2 words; references of 3 and 5, the closer is 3: exp(1 - 3/2).
    total, _ = bleu([['a cat here now too', 'a cat sat']], ['a cat'])
    assert total[0] == pytest.approx(math.exp(-0.5), abs=1e-8)


def test_bleu_takes_the_shorter_of_two_equally_close_lengths():
    # 3 words; references of 4 and 2: 2 counts, so nothing is taken off.
    total, _ = bleu([['a cat sat down', 'a cat']], ['a cat sat'])
    assert total[0] == pytest.approx(1, abs=1e-8)


def test_bleu_of_the_corpus_adds_counts_before_dividing():
    # 1 of 1 and 0 of 3 words: 1/4, while the mean of the two scores is 1/2.
    total, each = bleu([['a'], ['b c d']], ['a', 'x y z'])
    assert total[0] == pytest.approx(1 / 4, abs=1e-8)
    assert [row[0] for row in each] == pytest.approx([1, 0], abs=1e-8)
