"""Letters are read from answers as the originals read them."""

import json

import pytest

from mmllava.metrics.multiple_choice import option_letter, scienceqa_choice, scienceqa_letter
from tests.conftest import ROOT

PUBLISHED = ROOT.parent / 'shared/golden/scienceqa/published_outputs_sample.jsonl'


@pytest.mark.skipif(not PUBLISHED.is_file(), reason=f'no recording at {PUBLISHED}')
def test_every_published_output_is_read_as_the_original_reads_it():
    rows = [json.loads(line) for line in PUBLISHED.read_text(encoding='utf-8').splitlines()]
    assert len(rows) > 300
    assert [scienceqa_choice(row['text'], 5) for row in rows] == [row['choice'] for row in rows]


@pytest.mark.parametrize(
    ('text', 'letter'),
    [
        ('B', 'B'),
        ('B. ', 'B'),
        ('B. the blue one', 'B'),
        ('B.', None),  # the rule asks for three characters
        ('b', None),
        ('F', None),
        ('', None),
        (' B', None),
        ('AB', None),
        ('LECTURE: long.\nThe answer is C.', 'C'),
        ('The answer is C', None),  # a character must follow
        ('The answer is C!', 'C'),  # any
        ('The answer is C. No. The answer is C.', None),  # two are none, even if equal
        ('The answer is F.', 'F'),
    ],
)
def test_the_letter_of_scienceqa(text, letter):
    assert scienceqa_letter(text) == letter


def test_a_letter_beyond_the_options_is_none():
    assert scienceqa_choice('B', 2) == 1
    assert scienceqa_choice('C', 2) == -1
    assert scienceqa_choice('The answer is F.', 5) == -1


@pytest.mark.parametrize(
    ('text', 'letter'),
    [
        ('B', 'B'),
        ('(B) a cat', 'B'),
        ('The answer is: B.', 'B'),
        ('It is A', 'A'),
        ('A dog is on the sofa', 'B'),  # A is too far from the end; the text of B is in it
        ('A dog on it', 'A'),  # an article, of four words
        ('A sofa is what I see', None),
        ('I say B: it has ears', 'B'),  # the fourth word from the end
        ('I say B: it has two ears', None),  # the fifth
        ('So I see it: a dog.', 'B'),  # 19 letters; twice all options are 2 x (5 + 5)
        ('There I see it: a dog', None),  # 21
        ('A or B', None),
        ('A or B, a dog', 'B'),  # two letters; one text
        ('it shows A CAT', 'A'),
        ('Z', None),
        ('Z, a dog', None),
        ("Sorry, I can't help with images of people yet. B", None),
        ('', None),
    ],
)
def test_the_option_of_mmbench(text, letter):
    assert option_letter(text, dict(A='a cat', B='a dog')) == letter
