"""Computes CIDEr of captions (CIDEr-D: clipped, length-penalised) as pycocoevalcap does."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from mmllava.metrics.bleu import N, ngrams

SIGMA = 6.0  # width of the length penalty, in bigrams

Gram = tuple[str, ...]


def cider(
    references: Sequence[Sequence[str]], captions: Sequence[str]
) -> tuple[float, list[float]]:
    """Scores captions by the n-grams they share with references, weighted by TF-IDF.

    Document frequencies are those of the references of these images, so a score depends on
    which images are scored together; one image alone scores 0.

    Args:
        references: for each image, at least one tokenized reference.
        captions: for each image, its tokenized caption.

    Returns:
        the mean over images, in 0..10, and the score of each image.
    """
    counted = [[ngrams(reference.split()) for reference in image] for image in references]
    document_frequency = Counter(gram for image in counted for gram in set().union(*image))
    log_images = math.log(len(counted))
    idf = {gram: log_images - math.log(n) for gram, n in document_frequency.items()}
    scores = []
    for image, caption in zip(counted, captions, strict=True):
        vector = _Vector(ngrams(caption.split()), idf, log_images)
        others = (_Vector(reference, idf, log_images) for reference in image)
        scores.append(10 * sum(vector.similarity(other) for other in others) / len(image))
    return sum(scores) / len(scores), scores


class _Vector:
    """TF-IDF weights of a caption's n-grams, their norm for each n, and its length in bigrams."""

    def __init__(self, counts: Counter[Gram], idf: Mapping[Gram, float], unseen: float) -> None:
        self.weights = {gram: n * idf.get(gram, unseen) for gram, n in counts.items()}
        squares = [0.0] * N
        self.bigrams = 0
        for gram, weight in self.weights.items():
            squares[len(gram) - 1] += weight * weight
            if len(gram) == 2:
                self.bigrams += counts[gram]
        self.norms = [math.sqrt(square) for square in squares]

    def similarity(self, other: '_Vector') -> float:
        """Computes the mean over n of the clipped cosine, times the length penalty."""
        products = [0.0] * N
        other_weights = other.weights
        for gram, weight in self.weights.items():
            if gram in other_weights:
                products[len(gram) - 1] += min(weight, other_weights[gram]) * other_weights[gram]
        cosine = 0.0
        for product, own_norm, other_norm in zip(products, self.norms, other.norms, strict=True):
            scale = own_norm * other_norm
            cosine += product / scale if scale else product
        gap = self.bigrams - other.bigrams
        return cosine / N * math.exp(-(gap**2) / (2 * SIGMA**2))
