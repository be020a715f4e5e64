"""Which of several options an answer names."""

import re
from collections.abc import Mapping

_SCIENCEQA = tuple('ABCDE')
_THE_ANSWER = re.compile(r'The answer is ([A-Z]).')  # any character, the original's dot
_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    'Cannot determine the answer',
)
_MARKS = str.maketrans(dict.fromkeys('.()[],:;!*#{}', ' '))


def scienceqa_letter(text: str) -> str | None:
    """The letter that LLaVA's ScienceQA script reads from an answer.

    One of A to E alone; or first, before a period and a space; or in the only
    ``The answer is X`` (of two such sentences neither counts). None where it finds none.

    Source: ``eval_science_qa.py`` of LLaVA 1.2.2.
    """
    if text in _SCIENCEQA:
        return text
    if text[:1] in _SCIENCEQA and text[1:3] == '. ':
        return text[0]
    found = _THE_ANSWER.findall(text)
    return found[0] if len(found) == 1 else None


def scienceqa_choice(text: str, num_choices: int) -> int:
    """Index of the option that an answer names; -1 for none, or one that is not offered."""
    letter = scienceqa_letter(text)
    if letter is None or letter not in _SCIENCEQA[:num_choices]:
        return -1
    return _SCIENCEQA.index(letter)


def option_letter(text: str, options: Mapping[str, str]) -> str | None:
    """The option of MMBench that an answer names, by its letter or by its words.

    A letter has to stand alone, be the only one, and be among the last four words. Otherwise
    it is the only option whose text is in the answer, if that is no longer than twice all
    options together. None for a refusal, and where neither finds one.

    Source: the rules, not the judge, of VLMEvalKit 0.2rc1: ``can_infer``, as it runs where
    nobody has set ``VERBOSE`` (which has it take an ``A`` for an article).

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
    if not named and 'Z' in words:  # the judge's letter for none of them
        return None
    lower = text.lower()
    if len(lower) > 2 * sum(map(len, options.values())):
        return None
    held = [letter for letter, option in options.items() if option.lower() in lower]
    return held[0] if len(held) == 1 else None
