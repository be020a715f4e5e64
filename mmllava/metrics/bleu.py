"""Computes BLEU-1 to 4 of captions as pycocoevalcap does."""

import math
from collections import Counter
from collections.abc import Sequence

N = 4  # longest n-gram
SMALL, TINY = 1e-9, 1e-15  # pycocoevalcap's: avoid 0/0, so an empty score is near 0


def ngrams(tokens: Sequence[str]) -> Counter[tuple[str, ...]]:
    """Counts the n-grams of 1 to 4 tokens."""
    return Counter(
        g for n in range(N) for g in zip(*(tokens[i:] for i in range(n + 1)), strict=False)
    )


def bleu(
    references: Sequence[Sequence[str]], captions: Sequence[str]
) -> tuple[list[float], list[list[float]]]:
    """Scores captions by the n-grams that they share with their references.

    The brevity penalty takes the reference length closest to the caption's, the shorter of
    two equally close. The corpus score sums counts before it divides.

    Args:
        references: for each image, at least one tokenized reference.
        captions: for each image, its tokenized caption.

    Returns:
        BLEU-1, -2, -3 and -4 of the corpus, in 0..1; and for each image the same four.
    """
    total = [0] * N, [0] * N, 0, 0
    per_image = []
    for image_references, caption in zip(references, captions, strict=True):
        correct, guessed, length, closest = counts = _count(image_references, caption)
        per_image.append(_score(correct, guessed, length, closest))
        total = _add(total, counts)
    return _score(*total), per_image


def _count(references: Sequence[str], caption: str) -> tuple[list[int], list[int], int, int]:
    """Returns matching and all n-grams for n = 1..4, caption length, reference length."""
    tokens = caption.split()
    split = [reference.split() for reference in references]
    maxima: Counter[tuple[str, ...]] = Counter()
    for reference in split:
        maxima |= ngrams(reference)
    correct = [0] * N
    for gram, count in ngrams(tokens).items():
        correct[len(gram) - 1] += min(count, maxima.get(gram, 0))
    guessed = [max(0, len(tokens) - n) for n in range(N)]
    closest = min((abs(len(r) - len(tokens)), len(r)) for r in split)[1]
    return correct, guessed, len(tokens), closest


def _add(left: tuple, right: tuple) -> tuple:
    correct = [a + b for a, b in zip(left[0], right[0], strict=True)]
    guessed = [a + b for a, b in zip(left[1], right[1], strict=True)]
    return correct, guessed, left[2] + right[2], left[3] + right[3]


def _score(correct: list[int], guessed: list[int], length: int, reference: int) -> list[float]:
    """Computes geometric means of the precisions, times the brevity penalty."""
    ratio = (length + TINY) / (reference + SMALL)
    penalty = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    scores, product = [], 1.0
    for n in range(N):
        product *= (correct[n] + TINY) / (guessed[n] + SMALL)
        scores.append(product ** (1 / (n + 1)) * penalty)
    return scores
