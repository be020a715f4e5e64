"""Short answers against those of people: VQA accuracy, and GQA's exact match."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from mmllava.metrics.vqa_tables import ARTICLES, CONTRACTIONS, NUMBERS, PUNCTUATION

# Meant as "not after a digit", the original's (?!<=\d) looks for the characters "<=" and a
# digit after it and never holds anything back: "2.5" keeps its period only for the digit after.
_PERIOD = re.compile(r'(?!<=\d)(\.)(?!\d)')
_COMMA = re.compile(r'(?<=\d)(,)+(?=\d)')
_MAX_PERIODS = int(re.UNICODE)  # 32: the original passes this flag where a count belongs


@lru_cache(maxsize=1 << 18)
def normalise(answer: str) -> str:
    """An answer as M4C's EvalAI processor writes it: LLaVA's way for TextVQA and submissions.

    Example:
        >>> normalise("It's a two-storey house.")
        "it 's 2 storey house"
    """
    answer = answer.lower().replace(',', '').replace('?', '').replace("'s", " 's").strip()
    return normalise_vqa(answer)


@lru_cache(maxsize=1 << 18)
def normalise_vqa(answer: str) -> str:
    """An answer as VQA's own evaluation writes it: commas and 's are left to its other rules."""
    answer = answer.replace('\n', ' ').replace('\t', ' ').strip()
    return _words(_punctuation(answer))


def vqa_truths(truths: Sequence[str]) -> list[str]:
    """People's answers as VQA's own evaluation compares with: as they are where all agree.

    Where they do not, punctuation goes; numbers, articles and capitals stay, which are
    changed in the model's answer only.

    Example:
        >>> vqa_truths(['one', 'one']), vqa_truths(['one', '1.'])
        (['one', 'one'], ['one', '1'])
    """
    return list(map(_punctuation, truths)) if len(set(truths)) > 1 else list(truths)


def _punctuation(text: str) -> str:
    """Marks beside a space go; others become a space, or go too after a number like 1,000."""
    result, number = text, _COMMA.search(text) is not None
    for mark in PUNCTUATION:
        beside = mark + ' ' in text or ' ' + mark in text
        result = result.replace(mark, '' if beside or number else ' ')
    return _PERIOD.sub('', result, count=_MAX_PERIODS)


def _words(text: str) -> str:
    """Numbers as digits, no articles, apostrophes put back."""
    words = (NUMBERS.get(word, word) for word in text.lower().split())
    return ' '.join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def vqa_accuracy(answer: str, truths: Sequence[str]) -> float:
    """How far an answer agrees with those of people, all normalised: 0..1.

    Each person is left out once; with three equal answers among the others, that counts 1.
    The result is the mean over the people, for ten 0, 0.3, 0.6, 0.9 or 1.
    """
    return agreement(Counter(truths)[answer], len(truths))


def agreement(matches: int, people: int) -> float:
    """The same, from how many of how many people gave that answer."""
    with_it = matches * min(1, (matches - 1) / 3)  # one of those who gave it is left out
    without = (people - matches) * min(1, matches / 3)
    return (with_it + without) / people


def gqa_answer(answer: str) -> str:
    """An answer as LLaVA hands it to GQA's evaluation, which compares it letter by letter."""
    return answer.rstrip('.').lower()
