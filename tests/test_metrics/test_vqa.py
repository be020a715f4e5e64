"""Short answers: the normaliser and the accuracies, by hand and against second implementations."""

import json
from collections import Counter
from itertools import product

import pytest

from mmllava.metrics.vqa import (
    accuracy_of_matches,
    gqa_answer,
    normalise,
    normalise_vqa,
    vqa_accuracy,
)
from tests.conftest import ROOT

RECORDED = json.loads((ROOT / 'tests/golden/benchmarks/lmms_eval.json').read_text())['vqa']


@pytest.mark.parametrize(
    ('answer', 'written'),
    [
        ('The Cat', 'cat'),
        ('a dog, an owl', 'dog owl'),
        ('two', '2'),
        ('none', '0'),
        ("it's", "it 's"),  # 's is parted first
        ('dont', "don't"),
        ('Im', 'im'),  # the table has "Im", but the text is in small letters by then
        ("somebody'd", 'somebodyd'),  # its one entry the wrong way round
        ('yes-no', 'yes no'),  # inside a word: a space
        ('yes -no', 'yes no'),  # beside a space: gone
        ('1,000', '1000'),
        ('3.', '3'),
        ('2.5', '2.5'),
        ('a.b', 'a b'.replace(' ', '')),  # a period is taken out, whatever is before it
        ('what?', 'what'),
        ('x\ny\tz', 'x y z'),
        ('', ''),
        ('the', ''),
        ('.' * 33 + 'x', '.x'),  # 32 at most: a flag stands where a count belongs
    ],
)
def test_an_answer_is_written_as_the_evalai_processor_writes_it(answer, written):
    assert normalise(answer) == written


def test_vqas_own_evaluation_keeps_what_its_other_rules_do_not_touch():
    assert normalise_vqa("it's 1,000") == "it's 1000"
    assert normalise_vqa('red, blue') == 'red blue'
    assert normalise_vqa('red,blue') == 'red blue'
    assert normalise('red,blue') == 'redblue'


@pytest.mark.parametrize(
    ('matches', 'accuracy'),
    [
        # Of ten people m gave this answer. Leaving out one of those m: min(1, (m-1)/3); one of
        # the other 10-m: min(1, m/3). The mean over the ten:
        (0, 0.0),
        (1, 0.3),  # (1 x 0 + 9 x 1/3) / 10
        (2, 0.6),  # (2 x 1/3 + 8 x 2/3) / 10
        (3, 0.9),  # (3 x 2/3 + 7 x 1) / 10
        (4, 1.0),
        (10, 1.0),
    ],
)
def test_accuracy_leaves_each_of_ten_people_out_once(matches, accuracy):
    truths = ['cat'] * matches + ['dog'] * (10 - matches)
    assert vqa_accuracy('cat', truths) == pytest.approx(accuracy, abs=1e-12)
    assert vqa_accuracy('bird', truths) == 0


def test_accuracy_is_that_of_the_five_lines_it_stands_for():
    for matches, people in product(range(13), range(1, 13)):
        if matches > people:
            continue
        said = [k < matches for k in range(people)]
        others = [sum(said[:k] + said[k + 1 :]) for k in range(people)]
        slow = sum(min(1, n / 3) for n in others) / people
        assert accuracy_of_matches(matches, people) == pytest.approx(slow, abs=1e-12)


def test_answers_and_scores_are_those_of_lmms_eval():
    assert len(RECORDED) == 300
    for row in RECORDED:
        assert normalise(row['answer']) == row['written']
        said = Counter(map(normalise, row['truths']))
        own = accuracy_of_matches(said[normalise(row['answer'])], 10)
        assert own == pytest.approx(row['textvqa'], abs=1e-9)
        said = Counter(map(normalise_vqa, row['truths']))
        own = accuracy_of_matches(said[normalise_vqa(row['answer'])], 10)
        assert own == pytest.approx(row['vqav2'], abs=1e-9)
    assert {0.0, 0.3, 0.6, 0.9, 1.0} <= {round(row['textvqa'], 9) for row in RECORDED}


def test_mmpretrains_accuracy_is_another():
    """It counts matches / 3 with all ten people; the task leaves one out (antol et al. 2015)."""
    from mmllava.registry import METRICS

    metric = METRICS.build(dict(type='mmpretrain.VQAAcc'))
    for matches, theirs in ((1, 100 / 3), (2, 200 / 3), (3, 100)):
        truths = ['cat'] * matches + ['dog'] * (10 - matches)
        metric.process(None, [dict(pred_answer='cat', gt_answer=truths)])
        assert metric.evaluate(1)['VQA/acc'] == pytest.approx(theirs)
        assert 100 * vqa_accuracy('cat', truths) == pytest.approx(30 * matches)


def test_gqa_is_compared_in_small_letters_without_the_last_period():
    assert gqa_answer('Yes.') == 'yes'
    assert gqa_answer('Left..') == 'left'
    assert gqa_answer('the left') == 'the left'
