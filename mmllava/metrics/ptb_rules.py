r"""Rules of the caption tokenizer: patterns of tokens, and how each token is written.

Every rule is tried where a token may begin; the longest match wins, the earlier
rule on equal length. A pattern's group 1 is the token; what it matches after the
group is lookahead: it counts for the length and stays in the text. Source: the observed
behaviour of PTBTokenizer 3.4.1, recorded in ``tests/golden/captions``.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from mmllava.metrics import ptb_tables as tables


class Rule(NamedTuple):
    """First characters of a token, its pattern, and the function that writes it."""

    first: re.Pattern[str]
    pattern: re.Pattern[str]
    write: Callable[[str], str]


def _chars(ranges: str) -> str:
    """Converts '41-5a 61' to the inside of a character class."""
    pairs = (part.partition('-') for part in ranges.split())
    return ''.join(
        f'\\u{int(first, 16):04x}' + (f'-\\u{int(last, 16):04x}' if last else '')
        for first, _, last in pairs
    )


def _words(text: str) -> str:
    """Builds an alternation of the words, longest first, in any case."""
    words = sorted(text.split(), key=len, reverse=True)
    return '(?i:' + '|'.join(map(re.escape, words)) + ')'


# Names below hold regex source. L letter, D digit, M mark (or soft hyphen).
L, D, M = _chars(tables.LETTERS), _chars(tables.DIGITS), _chars(tables.MARKS) + '\xad'
SPACE = r' \t\xa0\u2000-\u200a\u3000'
BLANK = SPACE + r'\n'
CURLY = r'(?:[\x92\u2019]|&(?i:apos);)'
APOS = r"(?:['\x92\u2019]|&(?i:apos);)"
TICK = r"(?:['\x92\u2019`\x91\u2018\u201b]|&(?i:apos);)"  # an apostrophe, or one mistyped
VERB = r'(?:[msdMSD]|(?i:re|ve|ll))'
AMP = '&(?i:amp);'
ENTITY = '&[aeiouAEIOU](?i:acute|grave|uml);'
LETTER = f'(?:[{L}{M}]|{ENTITY})'
MORE = f'(?:[{L}{M}{D}]|{ENTITY})*'
WORD = f'{LETTER}{MORE}(?:[.!?]{LETTER}{MORE})*'
LUMP = f'(?:[dDoOlL]{TICK}[{L}{D}])?[{L}{D}]+'
THING = rf'{LUMP}(?:[-_\u058a\u2010\u2011]{LUMP})*'
SIGNED = f'[A-Z]+(?:(?:{AMP}|[+&])[A-Z]+)+'
NATION = r'(?i:(?:canada|sino|korean|eu|japan|non)-u\.s|u\.s\.-(?:u\.k|u\.s\.s\.r))'
ACRONYM = rf'(?:{NATION}|[A-Za-z](?:\.[A-Za-z])+)'
HYPHENED = rf'[A-Za-z0-9][A-Za-z0-9.,\xad]*(?:-(?:{ACRONYM}\.|[A-Za-z0-9\xad]+))+'
SLASHED = r'[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}'
NAME = '[A-Za-z][A-Za-z0-9:._-]*'
TAG = (
    rf'<(?:[!?][A-Za-z-][^>\n]*|/{NAME}|{NAME}(?:[ ]+(?:{NAME}[ ]*=[ ]*'
    rf"""(?:'[^'\n]*'|"[^"\n]*")|{NAME}))*[ ]*/?)[ ]*>"""
)
CAPITALS = '|'.join(f'{w[0].upper()}(?i:{w[1:]})' for w in tables.CAPITAL_ABBREVIATIONS.split())
ABBREVIATION = rf'(?:{_words(tables.ABBREVIATIONS)}|{CAPITALS}|(?i:pp?t)[ey](?i:s)?)\.'
TITLE = rf'(?:{_words(tables.TITLES)}|[Mm][ft][Gg])\.'
OPENER = '|'.join(re.escape(w) + '|' + re.escape(w.upper()) for w in tables.OPENERS.split())
SENTENCE = f'[{BLANK}]+(?:{OPENER}|{TAG})[{BLANK}]'
URL_END = r'[^ \t\n"<>|.!?(){},-]'
HOST = r'(?i:www)\.(?:[^ \t\n"<>|.!?(){},]+\.)+[a-zA-Z]{2,4}'
SITE = r"""(?:[^ \t\n"`'<>|.!?(){},-_$]+\.)+(?i:com|net|org|edu)"""  # ,-_ is a range
DOMAIN = r'[^ \t\n"<>|(){}.\xa0]+'
PHONE = (
    r'(?:\([0-9]{2,3}\)[ \xa0]?|(?:\+\+?)?(?:[0-9]{2,4}[- \xa0])?[0-9]{2,4}[- \xa0])'
    r'[0-9]{3,4}[- \xa0]?[0-9]{3,5}'
    r'|(?:(?:\+\+?)?[0-9]{2,4}\.)?[0-9]{2,4}\.[0-9]{3,4}\.[0-9]{3,5}'
)
SPOKEN = (
    f'{APOS}n{APOS}|[lLdDjJ]{APOS}|(?:dunkin|somethin|ol){APOS}|c{APOS}mon|'
    f'{APOS}(?:em|[2-9]0s|till?|cause)|o{TICK}o|'
    r"cont'd\.?|nor'easter|c'mon|e'er|s'mores|ev'ry|li'l|nat'l"
)
ODD = rf'-(?:[rl][rcs]b)-|c\.d\.s|pro-|anti-|s(?:&|{AMP})(?:p-500|ls)|cap{APOS}n|c{APOS}est'
FACE = r"[<>]?[:;=][-o*']?[()DPdpO\\{@|\[\]]"
EAST_FACE = (
    r"[\^x=~<>]\.\[\^x=~<>]|[-\^x=~<>']_[-\^x=~<>']|"
    r"\([-\^x=~<>'][_.]?[-\^x=~<>']\)|\([\^x=~<>']-[\^x=~<>'`]\)"
)
FILE = (
    rf'[{L}{M}{D}]+(?:\.[{L}{M}{D}]+)*\.(?i:bat|bmp|bz2|c|class|cgi|cpp|dll|doc|docx|exe|gif|'
    'gz|h|htm|html|jar|java|jpeg|jpg|mov|mp3|pdf|php|pl|png|ppt|ps|py|sql|tar|txt|wav|x|xml|zip)'
)

# Ways to write a token.
QUOTES = {'\x91': '`', '\u2018': '`', '\u201b': '`', '\u2039': '`', '\x92': "'", '\u2019': "'"}
QUOTES |= {'\u203a': "'", '\x93': '``', '\xab': '``', '\u201c': '``', '&apos;': "'"}
QUOTES |= {'\x94': "''", '\xbb': "''", '\u201d': "''"}
_QUOTE = re.compile('&apos;|[' + ''.join(q for q in QUOTES if len(q) == 1) + ']')


def _same(token: str) -> str:
    return token


def _soft(token: str) -> str:
    """Removes soft hyphens; a lone one becomes a hyphen."""
    return token.replace('\xad', '') or '-'


def _straight(token: str) -> str:
    return _QUOTE.sub(lambda quote: QUOTES[quote[0]], token)


def _joined(token: str) -> str:
    """Replaces spaces by no-break spaces, and round brackets by their names."""
    return token.replace(' ', '\xa0').replace('(', '-lrb-').replace(')', '-rrb-')


def _ampersand(token: str) -> str:
    return re.sub(AMP, '&', token)


def _as(text: str) -> Callable[[str], str]:
    return lambda token: text


_A, _W, _Q = 'A-Za-z', rf'{L}{M}&', r"'\x92\u2019&"  # common first characters
_T = _Q + r'`\x91\u2018\u201b'
_LIST: list[tuple[str, str, Callable[[str], str]]] = [
    # (first characters, pattern, writing)
    (SPACE, f'([{SPACE}]+)', _as('')),
    ('cC', '((?i:can))(?i:not)', _same),
    ('gGwW', '((?i:gon|wan))(?i:na)', _same),
    ('gG', '((?i:got))(?i:ta)', _same),
    ('gGlL', '((?i:gim|lem))(?i:me)', _same),
    ("'", "('[tT])(?i:is|was)", _same),
    ('<', f'({TAG})', lambda token: token.replace(' ', '\xa0')),
    (r'&\x96\x97\u2013-\u2015', r'(&(?i:md|mdash|ndash);|[\x96\x97\u2013-\u2015])', _as('--')),
    ('&', '(&(?i:nbsp);)', _as('')),
    ('&', f'({AMP})', _as('&')),
    ('&', '(&(?:(?i:ht|tl|ur|lr|qc|ql|qr|odq|cdq)|#[0-9]+);)', _same),
    # words and their clitics
    (_W, f'({WORD}){APOS}{VERB}', _soft),
    (rf'{_A}\xad', rf'([A-Za-z\xad]*[A-MO-Za-mo-z]\xad*)(?i:n{TICK}t)', _soft),
    (_W, f'({WORD})', _soft),
    (_A + _Q, f'((?i:{SPOKEN}))', _same),
    (L, f'([{L}]+[aeiouyAEIOUY]{TICK}[aeiouA-Z][{L}]*|[A-HJ-XZn]{TICK}[{L}]{{2,}})', _same),
    (_Q, f'({APOS}(?:[0-9]{{2}}|[nN]))[{BLANK}]', _same),
    ('yYdD', f'([yYdD]{APOS})[{L}]', _same),
    # addresses
    ('hH', rf'((?i:https?)://[^ \t\n"<>|(){{}}]+{URL_END})', _same),
    (r'^ \n', f'({HOST}|{SITE})', _same),
    (r'^ \n', rf'((?:{HOST}|{SITE})/[^ \t\n"<>|()]+{URL_END})', _same),
    (
        '&<A-Za-z0-9',
        rf'((?:<|&(?i:lt);)?[a-zA-Z0-9][^ \t\n"<>|()\xa0{{}}]*@(?:{DOMAIN}\.)*{DOMAIN}'
        '(?:>|&(?i:gt);)?)',
        _same,
    ),
    ('@#', f'(@[a-zA-Z_][a-zA-Z_0-9]*|#{LETTER}+)', _same),
    # clitics by themselves
    (_Q, f'({APOS}{VERB})[^A-Za-z]', _straight),
    (_Q, rf'({APOS}[nN])\Z', _same),
    (_Q, rf'({APOS}[msdMSD])\Z', _straight),
    (_Q, f'({CURLY}[nN])', _same),
    (_Q, f'({CURLY}{VERB})', _straight),
    ('nN', rf'((?i:n{TICK}t))(?:[^A-Za-z]|\Z)', _straight),
    # numbers
    (D, f'([{D}]{{1,2}}[-/][{D}]{{1,2}}[-/][{D}]{{2,4}})', _same),
    (
        rf'-+.:,\xad\u066b\u066c{D}',
        rf'([-+]?(?:[{D}]*(?:[.:,\xad\u066b\u066c][{D}]+)+|[{D}]+))',
        _soft,
    ),
    (
        r'\u207a\u207b\u208a\u208b\u2070\xb9\xb2\xb3\u2074-\u2079\u2080-\u2089',
        r'([\u207a\u207b\u208a\u208b]?(?:[\u2070\xb9\xb2\xb3\u2074-\u2079]+|[\u2080-\u2089]+))',
        _same,
    ),
    (D, rf'((?:[{D}]{{1,4}}[- \xa0])?[{D}]{{1,4}}(?:\\?/|\u2044)[{D}]{{1,4}})', _joined),
    (r'\xbc', r'(\xbc)', _as('1/4')),
    (r'\xbd', r'(\xbd)', _as('1/2')),
    (r'\xbe', r'(\xbe)', _as('3/4')),
    (r'\u2153', r'(\u2153)', _as('1/3')),
    (r'\u2154', r'(\u2154)', _as('2/3')),
    ('-' + _A, f'((?i:{ODD}))', _ampersand),
    ('A-Za-z0-9', rf'({SLASHED}(?:\\?/{SLASHED}){{1,2}})', _same),
    ('A-Z$#', r'([A-Z]*\$|#)', _same),
    (r'\x80\xa4\u20a0\u20ac', r'([\x80\xa4\u20a0\u20ac])', _as('$')),
    (r'\xa2', r'(\xa2)', _as('cents')),
    (r'\xa3', r'(\xa3)', _as('#')),
    # periods that belong to the word
    (_A, f'({ABBREVIATION})[{BLANK}](?:[{BLANK}A-Z]|{TAG})', _same),
    (_A, f'({ABBREVIATION})(?s:.{{0,2}})', _same),
    (_A, f'({TITLE})', _same),
    (_A, rf'((?:{ACRONYM}|[A-Za-z])\.)', _same),
    (_A, rf'([A-Za-z])\.{SENTENCE}', _same),
    (_A, rf'({ACRONYM})\.{SENTENCE}', lambda token: token + '.'),
    (_A, f'({ACRONYM})', _same),
    (_A, rf'({_words(tables.NUMBERED)}\.)[{BLANK}]?[{D}]', _same),
    (_W + D, f'({FILE})(?:[{BLANK}]|[.?!,])', _same),
    (_W + D, rf'((?:{WORD}|{THING}|{SIGNED}|{HYPHENED})\.)[,;:\u3001]', _soft),
    ('(+0-9', f'({PHONE})', _joined),
    # signs
    ('"&', '("|&quot;)', _as("''")),
    ('&', '(&(?i:quot);)', _same),
    ('<>:;=', f'({FACE})[^A-Za-z0-9]', lambda t: t.replace('(', '-lrb-').replace(')', '-rrb-')),
    (r"\^x=~<>'(-", f'({EAST_FACE})', lambda t: t.replace('(', '-lrb-').replace(')', '-rrb-')),
    ('<>', '(<<|>>)', _same),
    ('<&', '(<|&(?i:lt);)', _as('<')),
    ('>&', '(>|&(?i:gt);)', _as('>')),
    ('(', r'(\()', _as('-lrb-')),
    (')', r'(\))', _as('-rrb-')),
    ('{', r'(\{)', _as('-lcb-')),
    ('}', r'(\})', _as('-rcb-')),
    (r'\[', r'(\[)', _as('-lsb-')),
    (r'\]', r'(\])', _as('-rsb-')),
    ('-', '(-+)', lambda token: '--' if len(token) in (3, 4) else token),
    (r'.\u2026', r'(\.{3,5}|(?:\.[ \xa0]){2,4}\.|\u2026)', _as('...')),
    ('@#_', '(@+|#+|_+)', _same),
    (r'*\\', r'(\*+|(?:\\\*){1,3})', _same),
    ('?!', '([?!]+)', _same),
    # compounds
    ('A-Za-z0-9', f'({HYPHENED})', _soft),
    (L + D, f'({THING})', _soft),
    ('A-Z', f'({SIGNED})', _ampersand),
    ('cCfF', r'((?i:c\+\+|[cf]#))', _same),
    ("'", "('')", _same),
    (_Q, f'({APOS})', _as("'")),
    (
        r'`\u2018-\u201f\x82\x84\x91-\x94\u2039\u203a\xab\xbb',
        r'([`\u2018-\u201f\x82\x84\x91-\x94\u2039\u203a\xab\xbb]{1,2})',
        _straight,
    ),
    (r'^ \n', rf'([{_chars(tables.SYMBOLS)}!-/:-@\[-`{{-~])', _same),
    (r'\xad', r'(\xad)', _as('-')),
]
RULES = [
    Rule(re.compile(f'[{first}]'), re.compile(pattern), write) for first, pattern, write in _LIST
]
