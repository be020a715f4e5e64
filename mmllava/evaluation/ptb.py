"""Floor 1. The caption tokenizer: Penn Treebank words, no Java."""

import re

from mmllava.evaluation import ptb_tables as tables

PUNCTUATION = frozenset(["''", "'", '``', '`', '.', '?', '!', ',', ':', '-', '--', '...', ';'])

def _chars(ranges):
    parts = []
    for part in ranges.split():
        first, _, last = part.partition('-')
        parts.append(re.escape(chr(int(first, 16))))
        if last:
            parts.append('-' + re.escape(chr(int(last, 16))))
    return ''.join(parts)

L = _chars(tables.LETTERS)
D = _chars(tables.DIGITS)
M = _chars(tables.MARKS) + '\xad'
S = _chars(tables.SYMBOLS)
SP = ' \t\xa0\u2000-\u200a\u3000'
NL = '\n'
SPNL = SP + NL
APOS = "(?:['\x92\u2019]|&apos;)"
APOS2 = "(?:['\x92\u2019`\x91\u2018\u201b]|&apos;)"
AMP = '(?:&|&amp;)'
LET = f'(?:[{L}{M}]|&[aeiouAEIOU](?i:acute|grave|uml);)'
LETD = f'(?:[{L}{M}{D}]|&[aeiouAEIOU](?i:acute|grave|uml);)'
WORD = f'{LET}{LETD}*(?:[.!?]{LET}{LETD}*)*'
NUM = f'(?:[{D}]*(?:[.:,\xad\u066b\u066c][{D}]+)+|[{D}]+)'
HY = '[-_\u058a\u2010\u2011]'
BIT = f'(?:[dDoOlL]{APOS2}[{L}{D}])?[{L}{D}]+'
ACRO = r'[A-Za-z](?:\.[A-Za-z])*|(?i:(?:canada|sino|korean|eu|japan|non)-u\.s|u\.s\.-(?:u\.k|u\.s\.s\.r))'
ACRO2 = r'(?:[A-Za-z](?:\.[A-Za-z])+|(?i:(?:canada|sino|korean|eu|japan|non)-u\.s|u\.s\.-(?:u\.k|u\.s\.s\.r)))'
def words(t): return '|'.join(sorted((re.escape(w) for w in t.split()), key=len, reverse=True))
ABBR = '(?:(?i:' + words(tables.ABBREVIATIONS) + ')|' + '|'.join(f'{w[0].upper()}(?i:{w[1:]})' for w in tables.CAPITAL_ABBREVIATIONS.split()) + '|(?i:pp?t)[ey](?i:s)?)'
TITLE = '(?:(?i:' + words(tables.TITLES) + ')|[Mm][ft][Gg])'
SGML = r'<(?:[!?][A-Za-z-][^>\n]*|/?[A-Za-z][A-Za-z0-9:._-]*(?:[ ]+(?:[A-Za-z][A-Za-z0-9:._-]*[ ]*=[ ]*(?:\'[^\'\n]*\'|"[^"\n]*")|[A-Za-z][A-Za-z0-9:._-]*))*[ ]*/?)[ ]*>'
OPENW = '|'.join(re.escape(w) + '|' + re.escape(w.upper()) for w in tables.OPENERS.split())
OPEN = f'[{SPNL}]+(?:(?:{OPENW})[{SPNL}]|{SGML})'
EXT = 'bat|bmp|bz2|c|class|cgi|cpp|dll|doc|docx|exe|gif|gz|h|htm|html|jar|java|jpeg|jpg|mov|mp3|pdf|php|pl|png|ppt|ps|py|sql|tar|txt|wav|x|xml|zip'

def same(t): return t
def nbsp(t): return t.replace(' ', '\xa0')
def paren(t): return t.replace('(', '-lrb-').replace(')', '-rrb-')
def const(x): return lambda t: x
def soft(t): return t.replace('\xad', '') or '-'
def split(n): return lambda t: (t[:n], t[n:])
def strip_soft(t): return t.replace('\xad', '') or '-'
def entity(t):
    return (t.replace('&amp;', '&'))
def apos(t):
    return re.sub('[\x91\u2018\u201b]', '`', re.sub("\x92|\u2019|&apos;", "'", t))

AMP_OR_PLUS = '(?:[+&]|&amp;)'
RULES = []
def rule(pattern, action=same):
    RULES.append((re.compile(pattern), action))

rule(f'([{SP}]+)', const(''))
rule('((?i:cannot))', split(3))
rule('((?i:gonna|gotta|lemme|gimme|wanna))', split(3))
rule("('[tT])(?i:is|was)")
rule(f'({SGML})', nbsp)
rule('(&(?i:md|mdash|ndash);|[\x96\x97\u2013-\u2015])', const('--'))
rule('(&(?i:nbsp);)', const('-'))
rule('(&(?i:amp);)', const('&'))
rule('(&(?:(?i:ht|tl|ur|lr|qc|ql|qr|odq|cdq)|#[0-9]+);)')
rule(f'({WORD}){APOS}(?:[msdMSD]|(?i:re|ve|ll))', soft)
rule(f'([A-Za-z\xad]*[A-MO-Za-mo-z]\xad*)(?i:n{APOS2}t)', soft)
rule(f'({WORD})', soft)
rule(f"((?i:{APOS}n{APOS}|[lLdDjJ]{APOS}|dunkin{APOS}|somethin{APOS}|ol{APOS}|{APOS}em|c{APOS}mon|{APOS}[2-9]0s|{APOS}till?|{APOS}cause|cont'd\\.?|nor'easter|c'mon|e'er|s'mores|ev'ry|li'l|nat'l|o{APOS2}o)|[{L}]+[aeiouyAEIOUY]{APOS2}[aeiouA-Z][{L}]*|[A-HJ-XZn]{APOS2}[{L}]{{2,}})")
rule(f'({APOS}(?:[0-9]{{2}}|[nN]))[{SPNL}]')
rule(f'([yYdD]{APOS})[{L}]')
rule('((?i:https?)://[^ \t\n\x0c\r"<>|(){}]+[^ \t\n\x0c\r"<>|.!?(){},-])')
rule('((?:(?i:www)\\.(?:[^ \t\n\x0c\r"<>|.!?(){},]+\\.)+[a-zA-Z]{2,4}|(?:[^ \t\n\x0c\r"`\'<>|.!?(){},-_$]+\\.)+(?i:com|net|org|edu))(?:/[^ \t\n\x0c\r"<>|()]+[^ \t\n\x0c\r"<>|.!?(){},-])?)')
rule('(<?[a-zA-Z0-9][^ \t\n\x0c\r"<>|()\xa0{}]*@(?:[^ \t\n\x0c\r"<>|(){}.\xa0]+\\.)*[^ \t\n\x0c\r"<>|(){}.\xa0]+>?)')
rule(f'(@[a-zA-Z_][a-zA-Z_0-9]*|#{LET}+)')
rule(f'({APOS}(?:[msdMSD]|(?i:re|ve|ll)))[^A-Za-z]', apos)
rule('((?:[\x92\u2019]|&apos;)[nN])')
rule('((?:[\x92\u2019]|&apos;)(?:[msdMSD]|(?i:re|ve|ll)))', apos)
rule(f'((?i:n{APOS2}t))[^A-Za-z]', apos)
rule(f'([{D}]{{1,2}}[-/][{D}]{{1,2}}[-/][{D}]{{2,4}})')
rule(f'([-+]?{NUM})', strip_soft)
rule('([\u207a\u207b\u208a\u208b]?(?:[\u2070\xb9\xb2\xb3\u2074-\u2079]+|[\u2080-\u2089]+))')
rule(f'((?:[{D}]{{1,4}}[- \xa0])?[{D}]{{1,4}}(?:\\\\?/|\u2044)[{D}]{{1,4}})', nbsp)
rule(f'((?:[{D}]{{1,4}}[- \xa0])?[{D}]{{1,4}}(?:\\\\?/|\u2044)[{D}]{{1,4}})', nbsp)
for a, b in zip('\xbc\xbd\xbe\u2153\u2154', ('1/4', '1/2', '3/4', '1/3', '2/3')):
    rule(a, const(b))
rule(f'(-(?i:rrb|lrb|rcb|lcb|rsb|lsb)-|(?i:c\\.d\\.s|pro-|anti-|s{AMP}p-500|s{AMP}ls|cap{APOS}n|c{APOS}est))', entity)
rule(r'([A-Za-z0-9]+(?:-[A-Za-z]+){0,2}(?:\\?/[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}){1,2})')
rule(r'([A-Z]*\$|#)')
for a, b in (('\x80\xa4\u20a0\u20ac', '$'), ('\xa2', 'cents'), ('\xa3', '#')):
    rule(f'([{a}])', const(b))
rule(f'({ABBR}\\.)[{SPNL}](?:[{SPNL}A-Z]|{SGML})')
rule(f'({ABBR}\\.)(?s:..)')
rule(f'({ABBR}\\.)(?s:.)')
rule(f'({TITLE}\\.)')
rule(f'((?:{ACRO})\\.)')
rule(f'([A-Za-z])\\.{OPEN}')
rule(f'({ACRO2})\\.{OPEN}', lambda t: t + '.')
rule(f'({ACRO2})')
rule(f'((?i:{words(tables.NUMBERED)})\\.)[{SP}]?[{D}]')
rule(f'((?:[{L}{M}{D}]+(?:\\.[{L}{M}{D}]+)*\\.(?i:{EXT})))(?:[{SPNL}]|[.?!,])')
rule(f'((?:{WORD}|{BIT}(?:{HY}{BIT})*|[A-Z]+(?:{AMP_OR_PLUS}[A-Z]+)+|[A-Za-z0-9][A-Za-z0-9.,\xad]*(?:-(?:{ACRO2}\\.|[A-Za-z0-9\xad]+))+)\\.)[,;:\u3001]', soft)
rule('((?:\\([0-9]{2,3}\\)[ \xa0]?|(?:\\+\\+?)?(?:[0-9]{2,4}[- \xa0])?[0-9]{2,4}[- \xa0])[0-9]{3,4}[- \xa0]?[0-9]{3,5}|(?:(?:\\+\\+?)?[0-9]{2,4}\\.)?[0-9]{2,4}\\.[0-9]{3,4}\\.[0-9]{3,5})', lambda t: paren(nbsp(t)))
rule('("|(?i:&quot;))', const("''"))
rule(r"([<>]?[:;=][-o*']?[()DPdpO\\{@|\[\]])[^A-Za-z0-9]", paren)
rule(r"([\^x=~<>]\.\[\^x=~<>]|[-\^x=~<>']_[-\^x=~<>']|\([-\^x=~<>'][_.]?[-\^x=~<>']\)|\([\^x=~<>']-[\^x=~<>'`]\))", paren)
rule(r'(<<|>>)')
rule(r'(<|>|&lt;|&gt;)', lambda t: {'&lt;': '<', '&gt;': '>'}.get(t.lower(), t))
for a in '()[]{}':
    rule(f'({re.escape(a)})', const(f'-{"lr"[a in ")]}"]}{ {"(": "r", ")": "r", "[": "s", "]": "s", "{": "c", "}": "c"}[a]}b-'))
rule('(-+)', lambda t: '--' if 3 <= len(t) <= 4 else t)
rule('(\\.{3,5}|(?:\\.[ \xa0]){2,4}\\.|[\x85\u2026])', const('...'))
rule('(@+|#+|_+)')
rule(r'(\*+|(?:\\\*){1,3})')
rule('([,;:\u3001])')
rule('([?!]+)')
rule('([.=/\uff01\uff1f])')
rule(f'([A-Za-z0-9][A-Za-z0-9.,\xad]*(?:-(?:{ACRO2}\\.|[A-Za-z0-9\xad]+))+)', soft)
rule(f'({BIT}(?:{HY}{BIT})*)', soft)
rule('([A-Z]+(?:(?:[+&]|&amp;)[A-Z]+)+)', entity)
rule(r"((?i:c\+\+|c#|f#))")
rule("('')", same)
rule('(``)')
rule(f'({APOS})', const("'"))
rule('([`\u2018-\u201f\x82\x84\x91-\x94\u2039\u203a\xab\xbb]{1,2})', lambda t: ''.join(QUOTE.get(c, c) for c in t))
rule(f'([{S}!-/:-@\\[-`{{-~])')
rule('(\xad)', const('-'))
QUOTE = {'\x91': '`', '\u2018': '`', '\u201b': '`', '\u2039': '`', '\x92': "'", '\u2019': "'", '\u203a': "'",
  '\x93': '``', '\xab': '``', '\u201c': '``', '\x94': "''", '\xbb': "''", '\u201d': "''"}


def raw_tokens(text, after='\n'):
    whole = text + after
    end = len(text)
    pos = 0
    out = []
    while pos < end:
        best, act, longest = None, None, 0
        for pattern, action in RULES:
            m = pattern.match(whole, pos)
            if m and m.end() - pos > longest:
                best, act, longest = m, action, m.end() - pos
        if best is None:
            pos += 1
            continue
        t = best.group(1) if best.re.groups else best.group()
        r = act(t)
        if isinstance(r, tuple):
            out.extend(x.lower() for x in r)
        else:
            out.append(r.lower())
        pos += len(t)
    return out
