"""Reports on a run's data: counts, lengths, verbs and nouns, a plot, and samples."""

import random
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmllava.errors import ConfigError
from mmllava.structures import IMAGE_TAG
from mmllava.teacher.generate import Written
from mmllava.teacher.prompts import KINDS

TOP = 15  # verbs and nouns that are shown
SAMPLES = 10


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ARTICLES = _words('a an the this that these those his her its their my your our some any each')
_NUMBERS = _words('one two three four five six seven eight nine ten many several both few')
_BEFORE_VERB = _words('to can could will would may might must should do does did not')
_FUNCTION = _words(
    'i you he she it we they who which what where when why how there and or but if of in on at by '
    'for with from as into near next over under behind between through while is are was were be '
    'been being has have had than then so very also up down out off only about around'
)
_NOT_VERBS = _words(
    'something anything nothing everything during morning evening ceiling building clothing thing '
    'things king ring string spring wing being'
)


def count_words(texts: Iterable[str]) -> tuple[Counter[str], Counter[str]]:
    """Verbs and nouns, by a rule of thumb and no parser.

    A verb is a word in -ing, one after ``to``, ``can``, ``does`` and the like, or one in -s
    after ``a cat``; a noun is the last word of a run of content words that an article, a
    possessive or a number opens.
    """
    verbs: Counter[str] = Counter()
    nouns: Counter[str] = Counter()
    closed = _ARTICLES | _NUMBERS | _BEFORE_VERB | _FUNCTION
    for text in texts:
        before, opener, last = '', '', ''
        for token in re.findall(r"[a-z]+(?:'[a-z]+)?|[^\sa-z]", text.lower()):
            content = token[0].isalpha() and token not in closed
            opens = token in _ARTICLES or token in _NUMBERS
            in_ing = token.endswith('ing') and len(token) > 4 and token not in _NOT_VERBS
            after_article = before in _ARTICLES or before in _NUMBERS
            third = last and opener in ('a', 'an') and re.search('[^su]s$', token)  # a cat sits
            is_verb = content and (
                before in _BEFORE_VERB or third or (in_ing and not after_article)
            )
            verbs[token] += bool(is_verb)
            if content and opener and not is_verb:
                last = token
            else:
                nouns[last] += bool(last)
                opener, last = token if opens else '', ''
            before = token
        nouns[last] += bool(last)
    return +verbs, +nouns


def summarise(written: Written) -> dict[str, Any]:
    """The figures of a report, for each kind."""
    found = {}
    for kind, counts in written.reasons().items():
        rows = [row for row, (_, k) in zip(written.rows, written.of, strict=True) if k == kind]
        asked, said = _texts(rows, 'human'), _texts(rows, 'gpt')
        verbs, nouns = count_words(asked if KINDS[kind].turns else said)
        found[kind] = dict(
            counts=counts,
            turns=_spread([len(row['conversations']) // 2 for row in rows]),
            question_words=_spread([len(text.split()) for text in asked]),
            answer_words=_spread([len(text.split()) for text in said]),
            verbs=dict(verbs.most_common(TOP)),
            nouns=dict(nouns.most_common(TOP)),
        )
    return found


def draw(written: Written, found: dict[str, Any], out: Path) -> None:
    """Writes the PNG.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigError('the report needs matplotlib. Run pip install matplotlib.') from error
    matplotlib.use('Agg')
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(12, 8), layout='constrained')
    counts, lengths, verbs, nouns = axes.flat
    for reason in sorted({r for f in found.values() for r in f['counts']}):
        left = [_below(f['counts'], reason) for f in found.values()]
        share = [f['counts'].get(reason, 0) for f in found.values()]
        counts.barh(list(found), share, left=left, label=reason)
    counts.set(xlabel='answers of the teacher')
    for kind in found:
        rows = [row for row, (_, k) in zip(written.rows, written.of, strict=True) if k == kind]
        words = [len(text.split()) for text in _texts(rows, 'gpt')]
        lengths.hist(words, bins=30, histtype='step', label=kind)
    lengths.set(xlabel='words of an answer', ylabel='answers')
    for axis, name in ((verbs, 'verbs'), (nouns, 'nouns')):
        total: Counter[str] = Counter()
        for part in found.values():
            total.update(part[name])
        top = total.most_common(TOP)[::-1]
        axis.barh([word for word, _ in top], [count for _, count in top])
        axis.set(title=f'{name}, by a rule of thumb')
    for axis in (counts, lengths):
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize='small')
    figure.savefig(out, dpi=100)
    pyplot.close(figure)


def write_samples(written: Written, seed: int) -> str:
    """Ten rows in Markdown, each with what the teacher was told of the image."""
    chosen = random.Random(seed).sample(range(len(written.rows)), min(SAMPLES, len(written.rows)))
    parts = ['# Samples\n\nWhat the teacher was told of an image, and what it wrote.\n']
    for k in sorted(chosen):
        image, kind = written.of[k]
        parts.append(f'\n## {image.id}, {kind}\n\n```\n')
        parts.append(image.describe(KINDS[kind].boxes) + '\n```\n')
        for message in written.rows[k]['conversations']:
            value = message['value'].replace(IMAGE_TAG, f'`{IMAGE_TAG}`')
            parts.append(f'\n**{message["from"]}**: {value}\n')
    return ''.join(parts)


def _below(counts: dict[str, int], reason: str) -> int:
    return sum(count for name, count in counts.items() if name < reason)


def _texts(rows: Sequence[dict[str, Any]], speaker: str) -> list[str]:
    return [
        message['value'].replace(IMAGE_TAG, '')
        for row in rows
        for message in row['conversations']
        if message['from'] == speaker
    ]


def _spread(numbers: Sequence[int]) -> dict[str, float]:
    if not numbers:
        return {}
    return dict(median=statistics.median(numbers), least=min(numbers), most=max(numbers))
