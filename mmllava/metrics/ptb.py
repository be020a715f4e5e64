"""The caption tokenizer: Penn Treebank words as pycocoevalcap has them, no Java.

pycocoevalcap writes all captions to one file, a line each, and reads the words
back line by line. Its tokenizer peeks past the end of a line: ``by the U.S.``
loses its period when the next caption begins with ``A``. ``tokenize_all`` gives
the same words, so scores are equal to the last digit; but here a line break
inside a caption is a space, so it cannot move the words of the captions after it.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from mmllava.metrics import ptb_tables as tables
from mmllava.metrics.ptb_rules import RULES, Rule

#: Tokens that pycocoevalcap leaves out. ``-lrb-`` and its kin stay: it looks for capitals.
PUNCTUATION = frozenset(['', "''", "'", '``', '`', '.', '?', '!', ',', ':', '-', '--', '...', ';'])
_BREAKS = dict.fromkeys(map(ord, '\r\n\x0b\x0c\x85\u2028\u2029'), ' ')
_PEEK = 24  # characters; more than any rule looks into the next caption, bar a tag

# Most of a caption is words that no rule can join to what follows: letters, then a blank.
_PLAIN = re.compile(r' *([A-Za-z]+)(?:,?(?=[ \n])|(\.)(?= [A-Za-z]|\n))')
_SPLIT = frozenset(['cannot', 'gonna', 'gotta', 'gimme', 'lemme', 'wanna'])
_DOTTED = frozenset(
    f'{tables.ABBREVIATIONS} {tables.CAPITAL_ABBREVIATIONS} {tables.TITLES} {tables.NUMBERED} '
    'pte pty ptes ptys ppte ppty pptes pptys mfg mtg'.split()
)
_BEYOND = re.compile('[\U00010000-\U0010ffff]')


def tokenize(text: str, after: str = '\n') -> str:
    """Splits a caption into lower-case words without punctuation, joined by spaces.

    Args:
        text: one caption. Any line break in it counts as a space.
        after: what stands behind the caption in pycocoevalcap's file; its
            tokenizer looks there. A line break: the caption by itself.

    Returns:
        the words; '' for a caption of punctuation only. A phone number or a
        fraction such as ``1 1/2`` is one word with a no-break space inside.
    """
    text = text.translate(_BREAKS)
    beyond = _BEYOND.search(text)  # Java counts an emoji as two characters, its surrogates
    if beyond:
        text = _BEYOND.sub(_as_surrogates, text)
    words = ' '.join(word for word in _words(text, after) if word not in PUNCTUATION).rstrip()
    return (
        words.encode('utf-16', 'surrogatepass').decode('utf-16', 'surrogatepass')
        if beyond
        else words
    )


def tokenize_all(texts: Sequence[str]) -> list[str]:
    """Tokenizes captions as lines of one file, each seeing the beginning of the next.

    Equal to what pycocoevalcap gives for the same captions in the same order;
    only the last has nothing behind it, not even a line break.
    """
    lines = [text.translate(_BREAKS) for text in texts]
    words, after = [], ''
    for line in reversed(lines):
        words.append(tokenize(line, after))
        after = '\n' + (line + after)[:_PEEK]
    return words[::-1]


def _as_surrogates(found: re.Match[str]) -> str:
    pair = found[0].encode('utf-16-le')
    return chr(int.from_bytes(pair[:2], 'little')) + chr(int.from_bytes(pair[2:], 'little'))


def _words(text: str, after: str) -> list[str]:
    """Every token of ``text`` in lower case, punctuation included; '' for blanks."""
    whole, end = text + after, len(text)
    words, at = [], 0
    while at < end:
        plain = _PLAIN.match(whole, at)
        if plain:
            word = plain[1].lower()
            if word not in _SPLIT and not (plain[2] and (len(word) == 1 or word in _DOTTED)):
                words.append(word)
                at = plain.end()
                continue
        longest, token, write = at, '', str
        for rule in _rules(whole[at]):
            found = rule.pattern.match(whole, at)
            if found and found.end() > longest:
                longest, token, write = found.end(), found[1], rule.write
        words.append(write(token).lower())
        at += len(token) or 1  # a character of no rule is dropped, as the original drops it
    return words


@lru_cache(maxsize=4096)
def _rules(first: str) -> list[Rule]:
    """The rules that can begin with this character, in order."""
    return [rule for rule in RULES if rule.first.match(first)]
