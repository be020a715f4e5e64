"""Computes ROUGE-L of captions as pycocoevalcap does."""

from collections.abc import Sequence

BETA = 1.2  # weight of recall against precision


def rouge_l(
    references: Sequence[Sequence[str]], captions: Sequence[str]
) -> tuple[float, list[float]]:
    """Scores captions by the longest common subsequence with their references.

    Precision and recall are each the maximum over the references, not both of one
    reference. An empty caption counts as one empty token, so it scores 1 against
    an empty reference and 0 against any other.

    Args:
        references: for each image, at least one tokenized reference.
        captions: for each image, its tokenized caption.

    Returns:
        the mean over images, in 0..1, and the score of each image.
    """
    scores = [_score(own, caption) for own, caption in zip(references, captions, strict=True)]
    return sum(scores) / len(scores), scores


def _score(references: Sequence[str], caption: str) -> float:
    tokens = caption.split(' ')
    precision = recall = 0.0
    for reference in references:
        other = reference.split(' ')
        common = common_length(tokens, other)
        precision = max(precision, common / len(tokens))
        recall = max(recall, common / len(other))
    if not precision:  # then recall is 0 too
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def common_length(left: Sequence[str], right: Sequence[str]) -> int:
    """Computes the length of the longest common subsequence, in tokens.

    One bit per token of ``left``: a row of the usual table is one integer, in
    which a zero bit marks an increment (Hyyro 2004).

    Example:
        >>> common_length('a cat sat down'.split(), 'the cat lay down'.split())
        2
    """
    positions: dict[str, int] = {}
    for index, token in enumerate(left):
        positions[token] = positions.get(token, 0) | 1 << index
    full = row = (1 << len(left)) - 1
    for token in right:
        match = row & positions.get(token, 0)
        if match:
            row = (row + match | row - match) & full
    return len(left) - row.bit_count()
