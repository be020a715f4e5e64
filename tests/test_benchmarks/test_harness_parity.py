"""GQA, SEED-Bench and MMBench beside second implementations, the same answers through both.

lmms-eval 0.7.3 and VLMEvalKit 0.2rc1 (ms-vlmeval 0.0.20), where they are installed; the rules
are worked by hand in the tests of each benchmark and of mmllava.metrics, which always run. Where a
peer differs, the test says by which rule, and whose is right.
"""

import importlib.util
import random
import string
from pathlib import Path

import pytest

from mmllava.benchmarks.multiple_choice import score_mmbench, score_seed
from mmllava.benchmarks.types import Item
from mmllava.benchmarks.vqa import score_gqa
from mmllava.metrics.multiple_choice import option_letter


def needs(package, name):
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f'{name} is not installed: pip install {name}')


pytestmark = pytest.mark.slow
lmms_eval = needs('lmms_eval', 'lmms-eval')
vlmeval = needs('vlmeval', 'ms-vlmeval')
WORDS = ('yes', 'No', 'Left', 't-shirt', 'on the left', "man's", 'dark blue', 'yes!', 'Yes.', '..')
PICTURES = ('a cat', 'a dog', 'two dogs', 'red, blue', 'none of these', 'A4 paper', '3')


def draw_gqa(draw, count=400):
    items, answers = [], []
    for number in range(count):
        truth = draw.choice(WORDS[:7]).lower()
        said = draw.choice((truth, truth.title(), f'{truth}.', draw.choice(WORDS), f'{truth}!'))
        groups = dict(kind=draw.choice(('open', 'binary')))
        items.append(Item(number, truth=truth, groups=groups))
        answers.append(said)
    return items, answers


@lmms_eval
def test_gqa_is_lmms_evals_but_for_marks_inside_an_answer():
    """Its task compares without any punctuation: 'yes!' is yes, 'tshirt' is t-shirt.

    GQA's own eval.py compares predictions letter by letter (``predicted == gold``), after
    LLaVA's convert_gqa_for_eval.py has made them small and taken periods from their end: that is
    the published score, and ours.
    """
    import yaml
    from lmms_eval.api.metrics import exact_match_hf_evaluate

    path = Path(importlib.util.find_spec('lmms_eval').origin).parent / 'tasks/gqa/gqa.yaml'
    lines = [line for line in path.read_text().splitlines() if '!function' not in line]
    (metric,) = yaml.safe_load('\n'.join(lines))['metric_list']
    settings = {k: v for k, v in metric.items() if k.startswith('ignore')}
    assert (metric['metric'], len(settings)) == ('exact_match', 2)

    def theirs(answers, truths):
        return 100 * exact_match_hf_evaluate(answers, truths, **settings)['exact_match']

    items, answers = draw_gqa(random.Random(3))
    plain, marked = [], []
    for item, said in zip(items, answers, strict=True):
        marks = set(string.punctuation) & set(said.rstrip('.') + item.truth)
        (marked if marks else plain).append((item, said))
    (own, said), (others, marked_said) = zip(*plain, strict=True), zip(*marked, strict=True)
    ours = score_gqa(own, said)['accuracy']
    assert ours == pytest.approx(theirs(said, [i.truth for i in own]), abs=1e-9)
    assert len(own) > 100 and 20 < ours < 90
    assert score_gqa(others, marked_said)['accuracy'] < theirs(
        marked_said, [i.truth for i in others]
    )
    assert theirs(['yes!', 'tshirt'], ['yes', 't-shirt']) == 100
    assert score_gqa([Item(1, truth='yes'), Item(2, truth='t-shirt')], ['yes!', 'tshirt']) == {
        'accuracy': 0
    }


@lmms_eval
def test_seed_is_lmms_evals_for_letters_alone():
    """Its task takes an answer's first letter, small or not: 'B.', 'b' and 'Brown' are B.

    LLaVA's convert_seed_for_submission.py, whose score is the published one, wants the letter
    and nothing else (``row['text'] == question_data['answer']``), and so do we.
    """
    from lmms_eval.tasks.seedbench import utils

    draw = random.Random(4)
    items = [
        Item(n, truth=draw.choice('ABCD'), groups=dict(data_type=draw.choice(('image', 'video'))))
        for n in range(300)
    ]

    def theirs(answers):
        found = {}
        for item, answer in zip(items, answers, strict=True):
            doc = dict(answer=item.truth, question_id=item.id, data_type=item.groups['data_type'])
            for name, row in utils.seed_process_result(doc, [answer]).items():
                found.setdefault(name, []).append(row)
        return {name: 100 * utils.seed_aggregation_result(rows) for name, rows in found.items()}

    answers = [draw.choice('ABCDE') for _ in items]
    ours, other = score_seed(items, answers), theirs(answers)
    assert ours['accuracy'] == pytest.approx(other['seed_all'], abs=1e-9)
    assert ours['image'] == pytest.approx(other['seed_image'], abs=1e-9)
    assert ours['video'] == pytest.approx(other['seed_video'], abs=1e-9)
    wordy = [draw.choice(('{}.', '{}. a cat', ' {}')).format(item.truth) for item in items]
    assert (score_seed(items, wordy)['accuracy'], theirs(wordy)['seed_all']) == (0, 100)


def draw_mmbench(draw, count, wordy):
    """Questions in all their rounds, with answers: letters alone, or anything."""
    rows = []
    for base in range(count):
        options = draw.sample(PICTURES, draw.randint(2, 4))
        groups = {'l2-category': draw.choice(('sight', 'logic')), 'category': draw.choice('xy')}
        for turn in range(len(options)):
            shown = dict(zip('ABCD', options[turn:] + options[:turn], strict=False))
            truth = next(k for k, v in shown.items() if v == options[0])
            letter = truth if draw.random() < 0.9 else draw.choice(list(shown))
            said = sentence(draw, shown, letter) if wordy else letter
            item = Item(base + turn * 1_000_000, truth=truth, groups=groups, record=shown)
            rows.append((item, said))
    return [item for item, _ in rows], [said for _, said in rows]


def sentence(draw, shown, letter):
    """An answer as models write them, and worse."""
    words = ['It', 'is', 'a', 'A', 'Z', 'the', f'({letter})', f'{letter}.', letter, shown[letter]]
    words += [
        draw.choice(list(shown.values())).title(),
        draw.choice('ABCDE'),
        'image,',
        '*',
        '{B}',
    ]
    form = draw.choice(('{0}', '({0})', '{0}. {1}', 'The answer is {0}', '{1}', '', '{2}', '{2}'))
    return form.format(letter, shown[letter], ' '.join(draw.choices(words, k=draw.randint(1, 8))))


@vlmeval
def test_mmbenchs_letters_are_vlmevalkits():
    """On anything; its 'Z' (none of the options) is no letter to us. Each is wrong."""
    from vlmeval.utils.matching_util import can_infer

    draw = random.Random(5)
    found = []
    for _ in range(20):
        items, answers = draw_mmbench(draw, 60, wordy=True)
        for item, answer in zip(items, answers, strict=True):
            theirs = can_infer(answer, dict(item.record))
            assert option_letter(answer, item.record) == (theirs if theirs in item.record else None)
            found.append(theirs)
    assert len(found) > 2000 and {False, 'Z', *'ABCD'} == set(found)


@vlmeval
@pytest.mark.parametrize('wordy', [False, True])
def test_mmbenchs_scores_are_vlmevalkits(wordy, tmp_path):
    """Its exact matching, which asks no judge: all rounds of a question right, or nothing."""
    import pandas
    from vlmeval.dataset.utils.multiple_choice import mcq_circular_eval, report_acc

    items, answers = draw_mmbench(random.Random(6), 200, wordy)
    table = pandas.DataFrame(
        [
            dict(index=i.id, question='?', prediction=a, answer=i.truth, **i.groups, **i.record)
            for i, a in zip(items, answers, strict=True)
        ]
    )
    data = mcq_circular_eval(None, table, table, 1, str(tmp_path / 'found.pkl'), 'MMBench')
    (theirs,) = report_acc(data).to_dict('records')
    ours = score_mmbench(items, answers)
    assert 100 * theirs.pop('Overall') == pytest.approx(ours['accuracy'], abs=1e-9)
    theirs.pop('split')
    assert set(theirs) == {'sight', 'logic', 'x', 'y'}
    for name, score in theirs.items():
        assert 100 * score == pytest.approx(ours[name], abs=1e-9)
    assert 10 < ours['accuracy'] < 90


@lmms_eval
def test_mmbench_is_lmms_evals_for_letters_alone():
    """Its copy of MMBench's rules of 2023 reads sentences otherwise: '{B}' is no letter, any
    place in the answer will do, E is one always, an A among more than three words none; and
    what it cannot read it asks ChatGPT for. MMBench names VLMEvalKit for its evaluation, whose
    rules are newer, and ours.
    """
    from lmms_eval.tasks.mmbench.mmbench_evals import MMBench_Evaluator

    items, answers = draw_mmbench(random.Random(7), 200, wordy=False)
    rows = [
        {'index': i.id, 'question': '?', 'prediction': a, 'answer': i.truth, 'split': 'dev'}
        | {'L2-category': i.groups['l2-category'], 'category': i.groups['category']}
        | {letter: i.record.get(letter, 'nan') for letter in 'ABCD'}
        for i, a in zip(items, answers, strict=True)
    ]
    total, each, above = MMBench_Evaluator().eval_result(rows, 'static')
    ours = score_mmbench(items, answers)
    assert 100 * total == pytest.approx(ours['accuracy'], abs=1e-9)
    for name, score in {**each, **above}.items():
        assert 100 * score == pytest.approx(ours[name], abs=1e-9)
