"""Normalises short answers and computes VQA accuracy; GQA's exact match."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from mmllava.metrics.vqa_tables import ARTICLES, CONTRACTIONS, NUMBERS, PUNCTUATION

# The original's (?!<=\d) is meant as "not after a digit", but looks for the characters "<=" and
# a digit, so it never applies: "2.5" keeps its period only because of the digit after it.
_PERIOD = re.compile(r'(?!<=\d)(\.)(?!\d)')
_COMMA = re.compile(r'(?<=\d)(,)+(?=\d)')
_MAX_PERIODS = int(re.UNICODE)  # 32: the original passes this flag as the count


@lru_cache(maxsize=1 << 18)
def normalise(answer: str) -> str:
    """Normalises an answer as M4C's EvalAI processor does: LLaVA's for TextVQA and submissions.

    Example:
        >>> normalise("It's a two-storey house.")
        "it 's 2 storey house"
    """
    answer = answer.lower().replace(',', '').replace('?', '').replace("'s", " 's").strip()
    return normalise_vqa(answer)


@lru_cache(maxsize=1 << 18)
def normalise_vqa(answer: str) -> str:
    """Normalises an answer as VQA's own evaluation does: commas and 's by its other rules."""
    answer = answer.replace('\n', ' ').replace('\t', ' ').strip()
    return _words(_punctuation(answer))


def vqa_truths(truths: Sequence[str]) -> list[str]:
    """Normalises the annotated answers as VQA's own evaluation does: not at all if all agree.

    If they do not, punctuation is removed; numbers, articles and capitals, which are changed
    in the model's answer, stay.

    Example:
        >>> vqa_truths(['one', 'one']), vqa_truths(['one', '1.'])
        (['one', 'one'], ['one', '1'])
    """
    return list(map(_punctuation, truths)) if len(set(truths)) > 1 else list(truths)


def _punctuation(text: str) -> str:
    """Removes marks next to a space, and all in a text with a number like 1,000; else a space."""
    result, number = text, _COMMA.search(text) is not None
    for mark in PUNCTUATION:
        next_to_space = mark + ' ' in text or ' ' + mark in text
        result = result.replace(mark, '' if next_to_space or number else ' ')
    return _PERIOD.sub('', result, count=_MAX_PERIODS)


def _words(text: str) -> str:
    """Writes numbers as digits, drops articles, restores apostrophes."""
    words = (NUMBERS.get(word, word) for word in text.lower().split())
    return ' '.join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def vqa_accuracy(answer: str, truths: Sequence[str]) -> float:
    """Computes VQA accuracy of a normalised answer against normalised references: 0..1.

    Each annotator is left out once; three equal answers among the others count 1. The result
    is the mean over the annotators, for ten of them 0, 0.3, 0.6, 0.9 or 1.
    """
    return accuracy_of_matches(Counter(truths)[answer], len(truths))


def accuracy_of_matches(matches: int, annotators: int) -> float:
    """Computes VQA accuracy from the number of annotators who gave that answer."""
    with_it = matches * min(1, (matches - 1) / 3)  # one of those who gave it is left out
    without = (annotators - matches) * min(1, matches / 3)
    return (with_it + without) / annotators


def gqa_answer(answer: str) -> str:
    """Normalises an answer as LLaVA does for GQA's evaluation, which compares exactly."""
    return answer.rstrip('.').lower()
