"""Extracts the option that an answer names, as ScienceQA's and MMBench's scripts do."""

import re
from collections.abc import Mapping

_SCIENCEQA = tuple('ABCDE')
_THE_ANSWER = re.compile(r'The answer is ([A-Z]).')  # any last character, as the original
_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    'Cannot determine the answer',
)
_MARKS = str.maketrans(dict.fromkeys('.()[],:;!*#{}', ' '))


def scienceqa_letter(text: str) -> str | None:
    """Extracts the letter of an answer by the rules of LLaVA's ScienceQA script.

    It is one of A to E alone; or first, before a period and a space; or in the only
    ``The answer is X`` (with two such sentences neither counts). None if there is none.

    Source: ``eval_science_qa.py`` of LLaVA 1.2.2.
    """
    if text in _SCIENCEQA:
        return text
    if text[:1] in _SCIENCEQA and text[1:3] == '. ':
        return text[0]
    letters = _THE_ANSWER.findall(text)
    return letters[0] if len(letters) == 1 else None


def scienceqa_choice(text: str, num_choices: int) -> int:
    """Returns the index of the option that an answer names; -1 for none, or one not offered."""
    letter = scienceqa_letter(text)
    if letter is None or letter not in _SCIENCEQA[:num_choices]:
        return -1
    return _SCIENCEQA.index(letter)


def option_letter(text: str, options: Mapping[str, str]) -> str | None:
    """Extracts the letter of MMBench's option that an answer names, by letter or by text.

    A letter has to stand alone, be the only one, and be among the last four words. Otherwise
    it is the only option whose text is in the answer, if the answer is no longer than twice
    all options together. None for a refusal, and if neither rule finds one.

    Source: the rules, not the judge, of VLMEvalKit 0.2rc1: ``can_infer`` without ``VERBOSE``
    set (which makes it take an ``A`` for an article).

    Args:
        text: an answer.
        options: letter -> text of the option.
    """
    if any(refusal in text for refusal in _REFUSALS):
        return None
    words = text.translate(_MARKS).split()
    named = [letter for letter in options if letter in words]
    if len(named) == 1 and words.index(named[0]) > len(words) - 5:
        return named[0]
    if not named and 'Z' in words:  # VLMEvalKit's letter for none of them
        return None
    lower = text.lower()
    if len(lower) > 2 * sum(map(len, options.values())):
        return None
    contained = [letter for letter, option in options.items() if option.lower() in lower]
    return contained[0] if len(contained) == 1 else None
