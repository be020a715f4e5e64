"""Parses the teacher's text into turns, and refuses what is unfit to learn from."""

import re

from mmllava.structures import IMAGE_TAG
from mmllava.teacher.cache import Answer
from mmllava.teacher.prompts import KINDS

Turns = list[tuple[str, str]]  # (question, answer)

#: reason -> what was found; in the order in which they are looked for
REASONS = {
    'cut': 'the answer ended at max_tokens',
    'empty': 'no text, or an empty question or answer',
    'refusal': 'the teacher declined, or spoke of itself',
    'format': 'not the form that the kind asks for',
    'coordinates': 'a place is quoted in numbers',
    'source': 'captions, boxes or descriptions are mentioned',
    'doubled': 'a question comes twice, or the whole was written before',
}
_LINE = re.compile(r'^[ \t]*={3,}[ \t]*$', re.M)
_BLOCK = re.compile(r'(Question|Answer):\s*(.*)', re.S)
_REFUSAL = re.compile(
    r"\b(as an ai\b|i(?:'m| am) (?:sorry\b|unable to|not able to)|"
    r"i (?:cannot|can't|can not) (?:assist|help|see|provide|comply|answer|view|access|describe)|"
    r'i apologi[sz]e)',
    re.I,
)
_COORDINATES = re.compile(
    r'\b[01]?\.\d+\s*,\s*[01]?\.\d+\b|\b0\.\d{3}\b|[\[(]\s*\d+(?:\.\d+)?\s*,\s*\d+(?:\.\d+)?\s*,'
)
_SOURCE = re.compile(
    r'\b(?:captions?|bounding[- ]box(?:es)?|coordinates?)\b|'
    r'\b(?:given|provided|above|five|these|according to the) '
    r'(?:sentences?|descriptions?|texts?|information)\b|'
    r'\b(?:sentences?|descriptions?|information|texts?) (?:provided|given|above)\b',
    re.I,
)


class Rejected(Exception):
    """An answer that is not learned from; ``reason`` is a key of `REASONS`."""

    def __init__(self, reason: str, detail: str = '') -> None:
        super().__init__(f'{reason}: {detail}')
        self.reason, self.detail = reason, detail


def parse_turns(text: str) -> Turns:
    """Questions and answers, from blocks ``Question:`` and ``Answer:`` with ``===`` between.

    Raises:
        Rejected: a block begins otherwise, or they do not alternate.
    """
    blocks = [block.strip() for block in _LINE.split(text)]
    found = []
    for block in filter(None, blocks):
        match = _BLOCK.fullmatch(block)
        wanted = ('Question', 'Answer')[len(found) % 2]
        if not match or match[1] != wanted:
            raise Rejected('format', f'expected a block {wanted}:, found {block[:60]!r}')
        if re.search(r'^(Question|Answer):', match[2], re.M):
            raise Rejected('format', f'no === between the blocks of {block[:60]!r}')
        found.append(match[2].strip())
    if len(found) % 2:
        raise Rejected('format', 'the last question has no answer')
    return list(zip(found[::2], found[1::2], strict=True))


def read_answer(kind: str, answer: Answer) -> Turns:
    """The turns of an answer that can be learned from.

    Returns:
        for a kind without questions of its own one turn, its question ''.

    Raises:
        Rejected: it cannot; the first of `REASONS` but ``doubled`` that holds.
    """
    text = answer.text.replace('\r\n', '\n').strip()
    if answer.finish == 'length':
        raise Rejected('cut')
    if answer.finish == 'content_filter':
        raise Rejected('refusal', 'the endpoint filtered it')
    if not text:
        raise Rejected('empty')
    limits = KINDS[kind].turns
    _refuse_if('refusal', _REFUSAL, text)
    if limits:
        turns = parse_turns(text)
        if not limits[0] <= len(turns) <= limits[1]:
            raise Rejected('format', f'{len(turns)} questions, expected {limits[0]}-{limits[1]}')
        if not all(question and said for question, said in turns):
            raise Rejected('empty', 'a question or an answer')
    else:
        turns = [('', text)]
        if re.search(r'^(Question|Answer):', text, re.M) or _LINE.search(text):
            raise Rejected('format', 'questions where only a description was asked for')
    if IMAGE_TAG in text:
        raise Rejected('format', f'it holds {IMAGE_TAG}')
    _refuse_if('coordinates', _COORDINATES, text)
    _refuse_if('source', _SOURCE, text)
    asked = [' '.join(question.lower().split()) for question, _ in turns]
    if len(set(asked)) < len(asked):
        raise Rejected('doubled', f'the question {max(asked, key=asked.count)[:60]!r}')
    return turns


def _refuse_if(reason: str, pattern: re.Pattern, text: str) -> None:
    found = pattern.search(text)
    if found:
        raise Rejected(reason, text[max(found.start() - 20, 0) : found.end() + 20])
