"""BLEU-1..4 of captions, as pycocoevalcap computes it."""

import math
from collections import Counter
from collections.abc import Sequence

N = 4  # longest n-gram
SMALL, TINY = 1e-9, 1e-15  # pycocoevalcap's: no division by zero, and a score of nothing is near 0


def ngrams(words: Sequence[str]) -> Counter[tuple[str, ...]]:
    """Counts every run of 1 to 4 words."""
    return Counter(
        g for n in range(N) for g in zip(*(words[i:] for i in range(n + 1)), strict=False)
    )


def bleu(
    references: Sequence[Sequence[str]], captions: Sequence[str]
) -> tuple[list[float], list[list[float]]]:
    """Scores captions by the n-grams that they share with their references.

    A caption is compared with the reference length closest to its own, the
    shorter of two equally close. The corpus score adds counts up before it divides.

    Args:
        references: for each image, at least one tokenized reference.
        captions: for each image, its tokenized caption.

    Returns:
        BLEU-1, -2, -3 and -4 of the corpus, in 0..1; and for each image the same four.
    """
    total = [0] * N, [0] * N, 0, 0
    each = []
    for own, caption in zip(references, captions, strict=True):
        correct, guessed, length, closest = counts = _count(own, caption)
        each.append(_score(correct, guessed, length, closest))
        total = _add(total, counts)
    return _score(*total), each


def _count(references: Sequence[str], caption: str) -> tuple[list[int], list[int], int, int]:
    """Matching n-grams and all n-grams for n = 1..4, caption length, reference length."""
    words = caption.split()
    split = [reference.split() for reference in references]
    most: Counter[tuple[str, ...]] = Counter()
    for reference in split:
        most |= ngrams(reference)
    correct = [0] * N
    for gram, count in ngrams(words).items():
        correct[len(gram) - 1] += min(count, most.get(gram, 0))
    guessed = [max(0, len(words) - n) for n in range(N)]
    closest = min((abs(len(r) - len(words)), len(r)) for r in split)[1]
    return correct, guessed, len(words), closest


def _add(left: tuple, right: tuple) -> tuple:
    correct = [a + b for a, b in zip(left[0], right[0], strict=True)]
    guessed = [a + b for a, b in zip(left[1], right[1], strict=True)]
    return correct, guessed, left[2] + right[2], left[3] + right[3]


def _score(correct: list[int], guessed: list[int], length: int, reference: int) -> list[float]:
    """Geometric means of the precisions, times the penalty for a short caption."""
    ratio = (length + TINY) / (reference + SMALL)
    penalty = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    scores, product = [], 1.0
    for n in range(N):
        product *= (correct[n] + TINY) / (guessed[n] + SMALL)
        scores.append(product ** (1 / (n + 1)) * penalty)
    return scores
