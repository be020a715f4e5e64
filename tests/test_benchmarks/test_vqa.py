"""VQAv2, OK-VQA, VizWiz, TextVQA and GQA: files read, answers scored by hand, bad files refused."""

import pytest

from mmllava.benchmarks.registry import BENCHMARKS
from mmllava.benchmarks.types import Item
from mmllava.benchmarks.vqa import (
    read_gqa,
    read_textvqa,
    read_vizwiz,
    read_vqav2,
    score_gqa,
    score_vqa,
    score_vqav2,
    submit_vizwiz,
    submit_vqav2,
)
from tests.test_benchmarks.conftest import drop, twice

V2 = 'annotations/v2_OpenEnded_mscoco_val2014_questions.json'
TRUTH = 'annotations/v2_mscoco_val2014_annotations.json'
TEST = 'annotations/v2_OpenEnded_mscoco_test-dev2015_questions.json'
TEST_ALL = 'annotations/v2_OpenEnded_mscoco_test2015_questions.json'


def vqav2(folder, **more):
    return read_vqav2(folder / V2, folder / 'val2014', folder / TRUTH, **more)


READERS = {  # name -> (folder of samples, reader)
    'vqav2': ('coco', vqav2),
    'vqa': ('coco', lambda f: read_vqav2(f / V2, f, f / TRUTH)),
    'test': ('coco', lambda f: read_vqav2(f / TEST, f, all_questions=f / TEST_ALL)),
    'gqa': ('gqa', lambda f: read_gqa(f / 'testdev_balanced_questions.json', f / 'images')),
    'vizwiz': ('vizwiz', lambda f: read_vizwiz(f / 'Annotations/val.json', f / 'val')),
    'textvqa': (
        'textvqa',
        lambda f: read_textvqa(
            f / 'TextVQA_0.5.1_val.json', f, f / 'TextVQA_Rosetta_OCR_v0.2_val.json'
        ),
    ),
}


def test_vqav2_by_hand(made):
    items = vqav2(made / 'coco')
    assert items[0].image.endswith('val2014/COCO_val2014_000000000001.jpg')
    # Question n has n "yes" and 10 - n "no"; types go yes/no, number, other in turn.
    scores = score_vqav2(items[:4], ['yes', 'Yes', 'yes.', None])
    assert scores == pytest.approx(
        {
            'accuracy': 22.5,  # (0 + 0.3 + 0.6 + 0) / 4
            'yes/no': 0.0,  # 0, and the missing one
            'number': 30.0,
            'other': 60.0,
        }
    )


def test_a_test_split_is_sent_whole_answers_normalised_the_rest_empty(made):
    folder = made / 'coco/annotations'
    items = read_vqav2(
        folder / 'v2_OpenEnded_mscoco_test-dev2015_questions.json',
        made / 'coco/test2015',
        all_questions=folder / 'v2_OpenEnded_mscoco_test2015_questions.json',
        image_name='COCO_test2015_{:012d}.jpg',
    )
    assert [item.asked for item in items] == [True] * 5 + [False] * 7
    rows = submit_vqav2(items, ['Two dogs.', *['x'] * 4, *[None] * 7])['vqa_submission.json']
    assert rows[0] == dict(question_id=0, answer='2 dogs')
    assert rows[-1] == dict(question_id=110, answer='')
    assert len({row['question_id'] for row in rows}) == 12


def test_gqa_by_hand(made):
    items = READERS['gqa'][1](made / 'gqa')
    answers = ['Yes.', 'green', 'no', 'Yellow', 'yes', None]  # right, right, no, right, right, no
    assert score_gqa(items, answers) == pytest.approx(
        {'accuracy': 400 / 6, 'binary': 200 / 3, 'open': 200 / 3}
    )


def test_gqa_scores_the_balanced_questions_of_a_file_with_all(copied, spoil):
    # eval.py takes a question into its means only where isBalanced is true
    file = copied('gqa') / 'testdev_balanced_questions.json'
    spoil(
        file, lambda c: [row.update(isBalanced=n < 2) for n, row in enumerate(c.values())] and None
    )
    items = read_gqa(file, file.parent)
    found = score_gqa(items, ['yes', 'red', *['x'] * 4])  # yes, green; wrong ones not counted
    assert found == {'accuracy': 50.0, 'binary': 100.0, 'open': 0.0}
    assert (
        len(BENCHMARKS['gqa'].files(items, ['a'] * 6, '')['testdev_balanced_predictions.json']) == 6
    )
    assert score_gqa(items[2:3], ['yes'])['accuracy'] == 100  # alone, in samples.jsonl


def test_vizwiz_counts_the_unanswerable(made):
    items = READERS['vizwiz'][1](made / 'vizwiz')
    answers = ['Unanswerable', 'green', *['x'] * 4]
    assert score_vqa(items, answers) == pytest.approx(
        {'accuracy': 200 / 6, 'unanswerable': 100.0, 'other': 20.0}
    )
    sent = submit_vizwiz(items, answers)['vizwiz_submission.json'][0]
    assert sent == dict(image='VizWiz_val_00000000.jpg', answer='unanswerable')


def test_textvqa_shows_the_ocr_tokens(made):
    items = READERS['textvqa'][1](made / 'textvqa')
    assert items[1].fields == dict(question='what does it SAY?', ocr='STOP, 1')
    assert items[0].fields['ocr'] == ''
    # seven said stop: 1; three said go: (3 x 2/3 + 7 x 1) / 10
    assert score_vqa(items[:2], ['Stop', 'go']) == pytest.approx({'accuracy': 95.0})


@pytest.mark.parametrize(
    ('truths', 'answer', 'accuracy'),
    [
        # All agree: they are compared as they are, and the answer is written with digits.
        (['one'] * 10, '1', 0),
        (['one'] * 10, 'one', 0),  # written '1'
        (['1'] * 10, 'one', 100),
        (['yes.'] * 10, 'yes.', 0),  # the answer loses its period, theirs do not
        # They differ: punctuation goes, and nothing else.
        (['yes.'] * 9 + ['no'], 'yes', 100),
        (['the cat'] * 9 + ['dog'], 'the cat', 0),  # written 'cat'
        (['cat'] * 9 + ['the cat'], 'the cat', 100),
        (['one'] * 8 + ['1'] * 2, 'one', 60),  # two said 1: (2 x 1/3 + 8 x 2/3) / 10
        (['Cat'] * 9 + ['dog'], 'Cat', 0),  # written small
    ],
)
def test_vqav2_changes_peoples_answers_only_as_its_own_script_does(truths, answer, accuracy):
    scores = score_vqav2([Item(1, truth=truths)], [answer])
    assert scores['accuracy'] == pytest.approx(accuracy)
    if truths == ['one'] * 10:
        assert score_vqa([Item(1, truth=truths)], [answer])['accuracy'] == 100  # LLaVA's


def other_image(content):
    content['annotations'][1]['image_id'] = 77


@pytest.mark.parametrize(
    ('name', 'file', 'change', 'message'),
    [
        ('vqav2', V2, drop('questions', 'question_id'), r'questions\[1\] has no "question_id"'),
        (
            'vqav2',
            V2,
            twice('questions'),
            r'questions\[12\] has the question_id 0 of .*\[0\] again',
        ),
        ('vqav2', V2, lambda c: c.update(questions=[]), 'the list "questions" is empty'),
        ('vqav2', V2, lambda c: c['questions'].pop() and None, 'which is not in .*same split'),
        ('vqav2', V2, lambda c: [], 'holds a list, expected an object'),
        ('vqav2', TRUTH, other_image, r'asks about image 1, but .*annotations\[1\] answers .* 77'),
        (
            'vqav2',
            TRUTH,
            twice('annotations'),
            r'annotations\[12\] has the question_id 0 of .*again',
        ),
        (
            'vqav2',
            TRUTH,
            lambda c: c['annotations'].pop() and None,
            'question_id 110, which is not',
        ),
        (
            'vqav2',
            TRUTH,
            lambda c: c['annotations'][1].update(answers=[]),
            r'\[1\] has "answers" \[\]',
        ),
        ('vqav2', TRUTH, lambda c: c['annotations'][1].update(answers=['x']), r'answers\[0\] is'),
        (
            'gqa',
            'testdev_balanced_questions.json',
            drop(None, 'imageId'),
            '2001 has no "imageId"; its keys are',
        ),
        ('gqa', 'testdev_balanced_questions.json', lambda c: {}, 'is empty, expected at least one'),
        (
            'vizwiz',
            'Annotations/val.json',
            drop(None, 'question'),
            r'val.json\[1\] has no "question"',
        ),
        ('vizwiz', 'Annotations/val.json', twice(None), r"\[6\] has the image 'VizWiz.* again"),
        ('textvqa', 'TextVQA_0.5.1_val.json', drop('data', 'image_id'), 'has no "image_id"'),
        (
            'textvqa',
            'TextVQA_Rosetta_OCR_v0.2_val.json',
            lambda c: c['data'].pop() and None,
            "the image_id '0+5', which is not in .*Rosetta",
        ),
        ('vqa', TRUTH, lambda c: c['annotations'][0].update(question_id=[1]), r'\[0\] has "qu'),
        (
            'test',
            TEST_ALL,
            lambda c: c['questions'].append(c['questions'][7]),
            r'questions\[12\] has the question_id 70 of .* again',
        ),
        (
            'gqa',
            'testdev_balanced_questions.json',
            lambda c: c['2000'].update(types=['query']),
            '2000 has "types" .*expected an object',
        ),
        (
            'gqa',
            'testdev_balanced_questions.json',
            lambda c: c['2000'].update(question='red \ud800'),
            'has half of a surrogate pair.*red',
        ),
    ],
)
def test_a_bad_file_is_refused_with_file_record_and_fix(refused, name, file, change, message):
    folder, read = READERS[name]
    refused(folder, file, change, message, read)
