"""The caption tokenizer gives pycocoevalcap's words, and one caption's line breaks stay its own."""

import json
import time
from pathlib import Path

import pytest

from mmllava.metrics.ptb import tokenize, tokenize_all

ROOT = Path(__file__).parents[2]
OURS = ROOT / 'tests/golden/captions/tokens.jsonl'
SHARED = ROOT.parent / 'shared/golden/caption_metrics/ptb_tokens.jsonl'


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]


def test_every_recorded_sentence_gives_the_recorded_tokens():
    recorded = rows(OURS)
    assert len(recorded) > 1500
    words = tokenize_all([row['text'] for row in recorded])
    assert words == [row['tokens'] for row in recorded]


@pytest.mark.skipif(not SHARED.exists(), reason=f'no {SHARED.name} beside the checkout')
def test_every_shared_sentence_gives_the_recorded_tokens():
    recorded = rows(SHARED)
    for row in recorded:
        assert tokenize(row['text']) == row['tokens']


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ("It isn't a cat; they've left.", "it is n't a cat they 've left"),
        ('A man\u2019s t-shirt (size 5)', "a man 's t-shirt -lrb- size 5 -rrb-"),
        ('You cannot do it, gimme!', 'you can not do it gim me'),
        ('AT&T, R&D and you & me', 'at&t r&d and you & me'),
        ('about $1,000.50 or 5% off', 'about $ 1,000.50 or 5 % off'),
        ('Mr. Smith in no. 5 said no.', 'mr. smith in no. 5 said no'),
        ('1 1/2 cups', '1\xa01/2 cups'),
        ('a 😀 face', 'a face'),
        ('a.com/😀 is', 'a.com/😀 is'),
        ('...', ''),
        ('', ''),
    ],
)
def test_a_caption_by_itself(text, words):
    assert tokenize(text) == words


@pytest.mark.parametrize(
    'blank', ['\r', '\n', '\r\n', '\x0b', '\x0c', '\x85', '\u2028', '\u2029', '\t', '\xa0', ' ']
)
def test_blanks_separate_words_and_never_move_other_captions(blank):
    captions = [f'a cat{blank}sat', 'a dog', f'{blank}two birds{blank}']
    assert tokenize_all(captions) == ['a cat sat', 'a dog', 'two birds']


@pytest.mark.parametrize('blank', ['\r', '\n', '\x0b', '\x0c', '\x85', '\u2028', '\u2029', ' '])
def test_an_address_ends_at_a_line_break(blank):
    assert tokenize(f'http://a.com/b{blank}is here') == 'http://a.com/b is here'


def test_the_original_looks_into_the_next_caption_and_so_do_we():
    # 'B. A' may end a sentence, so the period is a word of its own, which is dropped.
    assert tokenize_all(['plan B.', 'A dog', 'plan B.', 'a dog']) == [
        'plan b',
        'a dog',
        'plan b.',
        'a dog',
    ]
    assert tokenize('plan B.') == 'plan b.'


def test_nothing_stands_behind_the_last_caption():
    # The original wants a character after 're to know it from a quoted word.
    assert tokenize_all(["they're", "they're"]) == ["they 're", 'they re']


@pytest.mark.parametrize(
    'text',
    ['a' * 50_000, '.' * 50_000, '<a ' * 10_000, '1,' * 20_000, 'a.' * 20_000, '(1-' * 9_000],
)
def test_a_hostile_caption_takes_no_time_to_speak_of(text):
    start = time.perf_counter()
    tokenize(text)
    assert time.perf_counter() - start < 5
