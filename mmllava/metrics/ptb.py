"""Tokenizes captions as the Penn Treebank tokenizer of pycocoevalcap does, without Java.

pycocoevalcap writes all captions to one file, a line each, and reads the tokens
back line by line. Its tokenizer looks past the end of a line: ``by the U.S.``
loses its period when the next caption begins with ``A``. ``tokenize_all`` gives
the same tokens, so scores are equal to the last digit; but here a line break
inside a caption is a space, so it cannot shift the tokens of the captions after it.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from mmllava.metrics import ptb_tables as tables
from mmllava.metrics.ptb_rules import RULES, Rule

#: Tokens that pycocoevalcap drops. ``-lrb-`` and the like stay: it looks for capitals.
PUNCTUATION = frozenset(['', "''", "'", '``', '`', '.', '?', '!', ',', ':', '-', '--', '...', ';'])
_BREAKS = dict.fromkeys(map(ord, '\r\n\x0b\x0c\x85\u2028\u2029'), ' ')
_LOOKAHEAD = 24  # characters; more than any rule but that of tags sees of the next caption

# Fast path: most tokens are letters before a blank, which no rule joins to what follows.
_PLAIN = re.compile(r' *([A-Za-z]+)(?:,?(?=[ \n])|(\.)(?= [A-Za-z]|\n))')
_SPLIT = frozenset(['cannot', 'gonna', 'gotta', 'gimme', 'lemme', 'wanna'])
_DOTTED = frozenset(
    f'{tables.ABBREVIATIONS} {tables.CAPITAL_ABBREVIATIONS} {tables.TITLES} {tables.NUMBERED} '
    'pte pty ptes ptys ppte ppty pptes pptys mfg mtg'.split()
)
_ASTRAL = re.compile('[\U00010000-\U0010ffff]')


def tokenize(text: str, after: str = '\n') -> str:
    """Splits a caption into lower-case tokens without punctuation, joined by spaces.

    Args:
        text: one caption. Any line break in it counts as a space.
        after: text that follows the caption in pycocoevalcap's file, which its tokenizer
            looks at. A line break: the caption by itself.

    Returns:
        the tokens; '' for a caption of punctuation only. A phone number or a
        fraction such as ``1 1/2`` is one token with a no-break space inside.
    """
    text = text.translate(_BREAKS)
    astral = _ASTRAL.search(text)  # Java sees an emoji as two characters, its surrogates
    if astral:
        text = _ASTRAL.sub(_as_surrogates, text)
    tokens = ' '.join(t for t in _tokens(text, after) if t not in PUNCTUATION).rstrip()
    if astral:
        tokens = tokens.encode('utf-16', 'surrogatepass').decode('utf-16', 'surrogatepass')
    return tokens


def tokenize_all(texts: Sequence[str]) -> list[str]:
    """Tokenizes captions as lines of one file, each seeing the beginning of the next.

    Equal to what pycocoevalcap gives for the same captions in the same order;
    only the last is followed by nothing, not even a line break.
    """
    lines = [text.translate(_BREAKS) for text in texts]
    tokens, after = [], ''
    for line in reversed(lines):
        tokens.append(tokenize(line, after))
        after = '\n' + (line + after)[:_LOOKAHEAD]
    return tokens[::-1]


def _as_surrogates(match: re.Match[str]) -> str:
    pair = match[0].encode('utf-16-le')
    return chr(int.from_bytes(pair[:2], 'little')) + chr(int.from_bytes(pair[2:], 'little'))


def _tokens(text: str, after: str) -> list[str]:
    """Lists the tokens of ``text`` in lower case, punctuation included; '' for blanks."""
    whole, end = text + after, len(text)
    tokens, offset = [], 0
    while offset < end:
        plain = _PLAIN.match(whole, offset)
        if plain:
            word = plain[1].lower()
            if word not in _SPLIT and not (plain[2] and (len(word) == 1 or word in _DOTTED)):
                tokens.append(word)
                offset = plain.end()
                continue
        longest, token, write = offset, '', str
        for rule in _rules(whole[offset]):
            match = rule.pattern.match(whole, offset)
            if match and match.end() > longest:
                longest, token, write = match.end(), match[1], rule.write
        tokens.append(write(token).lower())
        offset += len(token) or 1  # a character of no rule is dropped, as in the original
    return tokens


@lru_cache(maxsize=4096)
def _rules(first: str) -> list[Rule]:
    """Returns the rules whose token can begin with this character, in order."""
    return [rule for rule in RULES if rule.first.match(first)]
