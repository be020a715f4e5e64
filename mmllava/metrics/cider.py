"""CIDEr of captions (CIDEr-D: clipped, length-penalised), as pycocoevalcap computes it."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from mmllava.metrics.bleu import N, ngrams

SIGMA = 6.0  # width of the length penalty, in bigrams

Gram = tuple[str, ...]


def cider(
    references: Sequence[Sequence[str]], captions: Sequence[str]
) -> tuple[float, list[float]]:
    """Scores captions by the n-grams they share with references, rare ones counting more.

    How rare an n-gram is comes from the references of these very images, so a
    score depends on which images are scored together; one image alone scores 0.

    Args:
        references: for each image, at least one tokenized reference.
        captions: for each image, its tokenized caption.

    Returns:
        the mean over images, in 0..10, and the score of each image.
    """
    counted = [[ngrams(reference.split()) for reference in own] for own in references]
    images = Counter(gram for own in counted for gram in set().union(*own))
    log_images = math.log(len(counted))
    rarity = {gram: log_images - math.log(count) for gram, count in images.items()}
    each = []
    for own, caption in zip(counted, captions, strict=True):
        mine = _Vector(ngrams(caption.split()), rarity, log_images)
        theirs = (_Vector(reference, rarity, log_images) for reference in own)
        each.append(10 * sum(mine.likeness(other) for other in theirs) / len(own))
    return sum(each) / len(each), each


class _Vector:
    """Weights of a caption's n-grams, their norm for each n, and its length in bigrams."""

    def __init__(self, counts: Counter[Gram], rarity: Mapping[Gram, float], unseen: float) -> None:
        self.weights = {gram: n * rarity.get(gram, unseen) for gram, n in counts.items()}
        squares = [0.0] * N
        self.bigrams = 0
        for gram, weight in self.weights.items():
            squares[len(gram) - 1] += weight * weight
            if len(gram) == 2:
                self.bigrams += counts[gram]
        self.norms = [math.sqrt(square) for square in squares]

    def likeness(self, other: '_Vector') -> float:
        """Mean over n of the clipped cosine, times the length penalty."""
        products = [0.0] * N
        theirs = other.weights
        for gram, weight in self.weights.items():
            if gram in theirs:
                products[len(gram) - 1] += min(weight, theirs[gram]) * theirs[gram]
        cosine = 0.0
        for product, own_norm, other_norm in zip(products, self.norms, other.norms, strict=True):
            scale = own_norm * other_norm
            cosine += product / scale if scale else product
        gap = self.bigrams - other.bigrams
        return cosine / N * math.exp(-(gap**2) / (2 * SIGMA**2))
