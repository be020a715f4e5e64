"""POPE and MME: answers read and counted, by hand and as lmms-eval counts them."""

import json

import pytest

from mmllava.metrics.yes_no import (
    COGNITION,
    PERCEPTION,
    count_yes,
    mme_answer,
    mme_totals,
    pope_answer,
)
from tests.conftest import ROOT

RECORDED = json.loads((ROOT / 'tests/golden/benchmarks/lmms_eval.json').read_text())


@pytest.mark.parametrize(
    ('text', 'answer'),
    [
        ('Yes', 'yes'),
        ('No', 'no'),
        ('no, there is none', 'no'),
        ('There is not.', 'no'),
        ('Yes. No dog.', 'yes'),  # the first sentence alone
        ('NO', 'yes'),  # three ways to write it are known
        ('none', 'yes'),  # a word of its own
        ('no\nYes', 'yes'),  # only spaces part words
        ('', 'yes'),
        ("There isn't", 'yes'),
    ],
)
def test_popes_answer(text, answer):
    assert pope_answer(text) == answer


def test_popes_counts_by_hand():
    said = ['yes', 'yes', 'yes', 'no', 'no', 'no', 'no', 'no']
    true = ['yes', 'yes', 'no', 'yes', 'no', 'no', 'no', 'no']
    assert count_yes(said, true) == pytest.approx(
        {
            'accuracy': 75.0,  # 6 of 8
            'precision': 200 / 3,  # 2 of 3 that were called yes
            'recall': 200 / 3,  # 2 of 3 that are yes
            'F1': 200 / 3,
            'yes_ratio': 37.5,  # 3 of 8
        }
    )


def test_no_yes_at_all_gives_zero_not_an_error():
    scores = count_yes(['no', 'no'], ['yes', 'no'])
    assert (scores['precision'], scores['recall'], scores['F1']) == (0, 0, 0)


def test_popes_counts_are_those_of_lmms_eval():
    """On answers that are yes or no. Its parser takes no others, and its yes_ratio is that of the
    truths; the parser above and the ratio of answers are those of LLaVA's ``eval_pope.py``."""
    answers, truths = zip(*RECORDED['pope']['pairs'], strict=True)
    scores = count_yes([pope_answer(a) for a in answers], truths)
    for name, score in RECORDED['pope']['scores'].items():
        assert scores[name] == pytest.approx(100 * score, abs=1e-9)


@pytest.mark.parametrize(
    ('text', 'answer'),
    [
        ('Yes', 'yes'),
        ('no.', 'no'),
        ('Yes, it is', 'yes'),
        ('Nope', 'no'),  # the first four letters hold "no"
        ('Unknown', 'other'),  # unkn
        ('know', 'no'),
        ('y', 'other'),  # lmms-eval takes it for yes; the tool's own script does not
        ('', 'other'),
    ],
)
def test_mmes_answer(text, answer):
    assert mme_answer(text) == answer


def test_mmes_score_by_hand():
    right = {'count': [[True, True], [True, False], [False, False]]}
    # 3 of 6 answers are right, 50; 1 of 3 images has both, 33.3; there is no total of one task
    assert mme_totals(right) == {'count': pytest.approx(50 + 100 / 3)}
    whole = {task: [[True, True]] for task in (*PERCEPTION, *COGNITION)}
    scores = mme_totals(whole)
    assert (scores['perception'], scores['cognition'], scores['OCR']) == (2000, 800, 200)


def test_mmes_totals_are_those_of_lmms_eval():
    right: dict = {}
    for task, picture, truth, answer in RECORDED['mme']['rows']:
        pictures = right.setdefault(task, {})
        pictures.setdefault(picture, []).append(mme_answer(answer) == truth)
    scores = mme_totals({task: list(own.values()) for task, own in right.items()})
    assert scores['perception'] == pytest.approx(RECORDED['mme']['perception'], abs=1e-9)
    assert scores['cognition'] == pytest.approx(RECORDED['mme']['cognition'], abs=1e-9)
