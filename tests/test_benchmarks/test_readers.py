"""Every set's real file formats: read, asked, scored by hand, and refused when they are bad."""

import json

import pytest

from mmllava.benchmarks.captions import read_coco, read_karpathy, score_caption_set
from mmllava.benchmarks.multiple_choice import (
    read_mmbench,
    read_seed,
    score_mmbench,
    score_seed,
    submit_mmbench,
)
from mmllava.benchmarks.open_ended import read_llava_bench, read_mmvet
from mmllava.benchmarks.registry import BENCHMARKS
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
from mmllava.benchmarks.yes_no import read_mme, read_pope, score_mme, score_pope, submit_mme
from mmllava.errors import ConfigError, DataError
from tests.conftest import ROOT

V2 = 'annotations/v2_OpenEnded_mscoco_val2014_questions.json'
TRUTH = 'annotations/v2_mscoco_val2014_annotations.json'
COCO_BENCH = ROOT.parent / 'shared/data/llava_bench_coco/qa90_questions.jsonl'


def vqav2(folder, **more):
    return read_vqav2(folder / V2, folder / 'val2014', folder / TRUTH, **more)


def karpathy(folder):
    return read_karpathy(folder / 'annotations/dataset_coco.json', folder)


def captions(folder):
    return read_coco(folder / 'annotations/captions_val2014.json', folder / 'val2014')


def pope(folder):
    return read_pope(folder, random=folder / 'coco_pope_random.json')


def mme(folder):
    return read_mme(folder / 'MME_Benchmark_release_version')


READERS = {
    'coco': vqav2,
    'gqa': lambda f: read_gqa(f / 'testdev_balanced_questions.json', f / 'images'),
    'vizwiz': lambda f: read_vizwiz(f / 'Annotations/val.json', f / 'val'),
    'textvqa': lambda f: read_textvqa(
        f / 'TextVQA_0.5.1_val.json', f, f / 'TextVQA_Rosetta_OCR_v0.2_val.json'
    ),
    'seed': lambda f: read_seed(f / 'SEED-Bench.json', f),
    'mm-vet': lambda f: read_mmvet(f / 'mm-vet.json', f),
    'karpathy': karpathy,
    'captions': captions,
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
    items = READERS['gqa'](made / 'gqa')
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
    items = READERS['vizwiz'](made / 'vizwiz')
    answers = ['Unanswerable', 'green', *['x'] * 4]
    assert score_vqa(items, answers) == pytest.approx(
        {'accuracy': 200 / 6, 'unanswerable': 100.0, 'other': 20.0}
    )
    sent = submit_vizwiz(items, answers)['vizwiz_submission.json'][0]
    assert sent == dict(image='VizWiz_val_00000000.jpg', answer='unanswerable')


def test_textvqa_shows_the_words_that_were_read(made):
    items = READERS['textvqa'](made / 'textvqa')
    assert items[1].fields == dict(question='what does it SAY?', ocr='STOP, 1')
    assert items[0].fields['ocr'] == ''
    # seven said stop: 1; three said go: (3 x 2/3 + 7 x 1) / 10
    assert score_vqa(items[:2], ['Stop', 'go']) == pytest.approx({'accuracy': 95.0})


def test_pope_by_hand(made):
    folder = made / 'pope'
    items = read_pope(
        made / 'coco/val2014',
        **{k: folder / f'coco_pope_{k}.json' for k in ('random', 'popular', 'adversarial')},
    )
    assert len(items) == 18
    assert (items[0].id, items[6].id) == ('random/1', 'popular/1')
    # labels yes, no, yes, no, yes, no; random all right, popular all "yes", the last: none answered
    answers = ['Yes', 'No'] * 3 + ['Yes'] * 6 + [None] * 6
    scores = score_pope(items, answers)
    assert scores['random/F1'] == 100
    assert scores['popular/precision'] == 50
    assert scores['popular/F1'] == pytest.approx(200 / 3)  # 2 x 0.5 x 1 / 1.5
    assert scores['adversarial/accuracy'] == 0  # missing is wrong
    assert scores['F1'] == pytest.approx((100 + 200 / 3 + 0) / 3)


def test_mme_by_hand(made):
    items = mme(made / 'mme')
    assert len(items) == 14 * 2 * 2
    assert items[0].fields['plain'] == 'Is it red?'
    answers = ['yes', 'no', 'yes', 'yes'] + ['no'] * 52
    scores = score_mme(items, answers)
    assert scores['existence'] == 125  # 3 of 4, and 1 of 2 pictures with both
    assert scores['count'] == 50  # 2 of 4, none with both
    assert scores['perception'] == 125 + 9 * 50
    line = submit_mme(items, answers)['mme/existence.txt'].splitlines()[0]
    assert line == '00000.jpg\tIs it red? Please answer yes or no.\tYes\tyes'
    alone = read_mme(made / 'mme/MME_Benchmark_release_version', tasks=['OCR'])
    assert {item.groups['task'] for item in alone} == {'OCR'}


def test_mmbench_by_hand(made):
    file = made / 'mmbench/mmbench_dev_20230712.tsv'
    items = read_mmbench(file)
    assert [item.id for item in items] == [241, 242, 243, 244, 1000241]
    assert items[0].choices == 2  # options end at the first nan
    assert items[1].fields['hint'] == 'Look.\nAgain.\n'
    assert items[3].image == items[0].image  # a row that names another
    # right letters A, A, B, B; the first question's second round: B
    scores = score_mmbench(items, ['A', 'B. green', 'green', None, 'A'])
    assert scores == {
        'accuracy': 25.0,  # the third alone
        'vanilla': 50.0,  # the first and the third
        'unread': 20.0,
        'sight': 25.0,
        'colour': 25.0,
    }
    rows = submit_mmbench(items, ['A'] * 5)['mmbench_submission.xlsx']
    assert list(rows[0]) == ['index', 'question', *'ABCD', 'prediction', 'answer', 'split']


def test_a_circular_question_is_right_only_in_every_round(made):
    items = read_mmbench(made / 'mmbench/mmbench_dev_20230712.tsv', circular=True)
    # the file has the rounds of the first; those of the others are made
    assert [item.id for item in items[:4]] == [241, 242, 1000242, 2000242]
    assert (items[0].id, items[-1].id, len(items)) == (241, 1000241, 1 + 4 + 2 + 4 + 1)
    assert items[0].fields['options'] == 'A. red\nB. green'
    assert items[-1].fields['options'] == 'A. green\nB. red'
    assert items[2].fields['options'] == 'A. green\nB. blue\nC. black\nD. red'
    assert (items[0].truth, items[-1].truth, items[2].truth) == ('A', 'B', 'D')
    always_a = score_mmbench(items, ['A'] * 12)
    assert (always_a['accuracy'], always_a['vanilla']) == (0, 50)
    knowing = score_mmbench(items, [item.truth for item in items])
    assert (knowing['accuracy'], knowing['vanilla']) == (100, 100)


def test_seed_by_hand(made):
    items = READERS['seed'](made / 'seed')
    assert items[2].image.endswith('SEED-Bench-video-image/10_v2.png')
    # right: A B C D A B; the letter and nothing else
    scores = score_seed(items, ['A', 'B.', 'C', 'D', 'a', None])
    assert scores == pytest.approx(
        {
            'accuracy': 50.0,
            'image': 50.0,  # 0, 1, 3, 4: A and D
            'video': 50.0,  # 2, 5
            'Scene Understanding': 50.0,  # 0, 4
            'Instance Identity': 50.0,  # 1, 3
            'Action Recognition': 50.0,
        }
    )
    assert len(read_seed(made / 'seed/SEED-Bench.json', made, data_type='video')) == 2


def test_a_picture_is_captioned_once_however_many_describe_it(made):
    folder = made / 'nocaps'
    items = read_coco(folder / 'annotations/nocaps_val_4500_captions.json', folder / 'images')
    assert len(items) == 6
    assert len(items[0].truth) == 10
    scores = score_caption_set(items, [item.truth[0] for item in items])
    assert scores['Bleu_1'] == pytest.approx(1)
    assert {'in-domain/CIDEr', 'near-domain/CIDEr', 'out-domain/CIDEr'} <= set(scores)
    left_out = score_caption_set(items, [*(i.truth[0] for i in items[:5]), None])
    assert left_out['Bleu_1'] == pytest.approx(1)
    items = read_coco(folder / 'annotations/nocaps_test_image_info.json', folder / 'images')
    assert items[0].truth is None
    flickr = read_karpathy(made / 'flickr30k/dataset_flickr30k.json', folder)
    assert (len(flickr), len(flickr[0].truth)) == (5, 2)


def test_karpathys_picture_is_below_its_folder_and_has_cocos_number(made):
    items = karpathy(made / 'coco')
    assert [item.id for item in items] == [2, 4, 6]
    assert items[0].image.endswith('coco/val2014/COCO_val2014_000000000002.jpg')
    with pytest.raises(ConfigError, match="unknown split of .* 'tset'. Did you mean test"):
        read_karpathy(made / 'coco/annotations/dataset_coco.json', made, split='tset')


def test_answers_for_a_judge(made):
    folder = made / 'llava-bench-in-the-wild'
    items = read_llava_bench(folder / 'questions.jsonl', folder / 'images')
    rows = BENCHMARKS['llava_bench'].files(items, ['A square.', 'x', None], 'llava-v1.5-7b')
    (row, *_) = rows['answers.jsonl']
    assert row['model_id'] == 'llava-v1.5-7b'
    assert set(row) == {'question_id', 'prompt', 'text', 'answer_id', 'model_id', 'metadata'}
    assert (row['question_id'], row['prompt'], row['text']) == (0, 'What is 0?', 'A square.')
    assert READERS['mm-vet'](made / 'mm-vet')[0].id == 'v1_0'


@pytest.mark.skipif(not COCO_BENCH.is_file(), reason=f'no file at {COCO_BENCH}')
def test_the_released_questions_of_llava_bench_are_read():
    items = read_llava_bench(COCO_BENCH, ROOT, image_name='COCO_val2014_{}')
    assert (len(items), len({item.image for item in items})) == (90, 30)


def drop(name, key=None):
    """A change that takes a key out of the second record."""

    def change(content):
        rows = content[name] if name else content
        rows = list(rows.values()) if isinstance(rows, dict) else rows
        del rows[1][key]

    return change


def twice(name):
    return lambda content: (content[name] if name else content).append(
        (content[name] if name else content)[0]
    )


def other_image(content):
    content['annotations'][1]['image_id'] = 77


@pytest.mark.parametrize(
    ('name', 'file', 'change', 'message'),
    [
        ('coco', V2, drop('questions', 'question_id'), r'questions\[1\] has no "question_id"'),
        ('coco', V2, twice('questions'), r'questions\[12\] has the question_id 0 of .*\[0\] again'),
        ('coco', V2, lambda c: c.update(questions=[]), 'the list "questions" is empty'),
        ('coco', V2, lambda c: c['questions'].pop() and None, 'which is not in .*same split'),
        ('coco', V2, lambda c: [], 'holds a list, expected an object'),
        ('coco', TRUTH, other_image, r'asks about image 1, but .*annotations\[1\] answers .* 77'),
        (
            'coco',
            TRUTH,
            twice('annotations'),
            r'annotations\[12\] has the question_id 0 of .*again',
        ),
        ('coco', TRUTH, lambda c: c['annotations'].pop() and None, 'question_id 110, which is not'),
        (
            'coco',
            TRUTH,
            lambda c: c['annotations'][1].update(answers=[]),
            r'\[1\] has "answers" \[\]',
        ),
        ('coco', TRUTH, lambda c: c['annotations'][1].update(answers=['x']), r'answers\[0\] is'),
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
        ('seed', 'SEED-Bench.json', drop('questions', 'choice_c'), 'has no "choice_c"'),
        ('seed', 'SEED-Bench.json', twice('questions'), "question_id '101669' of .* again"),
        (
            'seed',
            'SEED-Bench.json',
            lambda c: c['questions'][1].update(answer='E'),
            r"questions\[1\] has the answer 'E', expected A to D",
        ),
        ('mm-vet', 'mm-vet.json', drop(None, 'question'), 'v1_1 has no "question"'),
        (
            'captions',
            'annotations/captions_val2014.json',
            lambda c: c['annotations'][1].update(image_id=99),
            r'annotations\[1\] has the image_id 99, which is not in .*images',
        ),
        (
            'captions',
            'annotations/captions_val2014.json',
            twice('images'),
            'has the id 1 of .* again',
        ),
        (
            'captions',
            'annotations/captions_val2014.json',
            lambda c: c['images'][0].update(file_name='/etc/x.jpg'),
            'lies outside of',
        ),
        (
            'captions',
            'annotations/captions_val2014.json',
            lambda c: c.update(annotations=c['annotations'][2:]),
            r'images\[0\] \(id 1\) has no caption',
        ),
        (
            'karpathy',
            'annotations/dataset_coco.json',
            lambda c: c['images'][1].update(sentences=[]),
            r'images\[1\] has no sentences',
        ),
    ],
)
def test_a_bad_file_is_refused_with_file_record_and_fix(copied, spoil, name, file, change, message):
    folder = copied('coco' if name in ('captions', 'karpathy') else name)
    spoil(folder / file, change)
    with pytest.raises(DataError, match=message) as error:
        READERS[name](folder)
    assert file in str(error.value)
    assert str(error.value).rstrip().endswith(('.', '?'))


@pytest.mark.parametrize(
    ('name', 'file', 'text', 'message'),
    [
        ('pope', 'coco_pope_random.json', '', 'is empty'),
        ('pope', 'coco_pope_random.json', '{"question_id": 1', 'line 1 is not JSON'),
        (
            'pope',
            'coco_pope_random.json',
            '{"question_id": 1, "image": "a.jpg", "text": "?", "label": "maybe"}',
            "line 1 has the label 'maybe', expected yes or no",
        ),
        (
            'pope',
            'coco_pope_random.json',
            '{"question_id": 1, "image": "a.jpg", "text": "?"}',
            'line 1 has no "label"',
        ),
        (
            'mme',
            'MME_Benchmark_release_version/OCR/00090.txt',
            'One?\tYes\n',
            'has 1 lines, expected two',
        ),
        (
            'mme',
            'MME_Benchmark_release_version/OCR/00090.txt',
            'One?\tYes\nTwo? No\n',
            'line 2 is .* expected question, tab, Yes or No',
        ),
        ('mmbench', 'mmbench_dev_20230712.tsv', 'index\tquestion\n', 'has no column image, A, B'),
        ('mmbench', 'mmbench_dev_20230712.tsv', 'index\tquestion\timage\tA\tB\n', 'has no rows'),
        (
            'mmbench',
            'mmbench_dev_20230712.tsv',
            'index\tquestion\timage\tA\tB\n1\tq\t!!!\tx\ty\n',
            'row 1 has the image .* neither base64 nor the index',
        ),
        (
            'mmbench',
            'mmbench_dev_20230712.tsv',
            'index\tquestion\timage\tA\tB\n1\tq\tQUJD\tx\ty\n1\tq\tQUJD\tx\ty\n',
            'row 2 has the index 1 of .*row 1 again',
        ),
        (
            'mmbench',
            'mmbench_dev_20230712.tsv',
            'index\tquestion\timage\tA\tB\tanswer\n1\tq\tQUJD\tx\ty\tC\n',
            "row 1 has the answer 'C', and 2 options",
        ),
        (
            'mmbench',
            'mmbench_dev_20230712.tsv',
            'index\tquestion\timage\tA\tB\n1\tq\tQUJD\n',
            'row 1 has more or fewer cells than the header',
        ),
    ],
)
def test_a_bad_text_file_is_refused_too(copied, name, file, text, message):
    folder = copied(name)
    (folder / file).write_text(text)
    read = dict(pope=pope, mme=mme, mmbench=lambda f: read_mmbench(f / file))[name]
    with pytest.raises(DataError, match=message):
        read(folder)


def test_a_missing_task_and_a_missing_file_are_named(copied, tmp_path):
    (tmp_path / 'MME_Benchmark_release_version').mkdir()
    with pytest.raises(DataError, match='no folder .*existence; MME has one for each of its 14'):
        mme(tmp_path)
    with pytest.raises(DataError, match='cannot read .*gone.tsv: No such file'):
        read_mmbench(tmp_path / 'gone.tsv')
    (tmp_path / 'binary.json').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(DataError, match='not text in UTF-8'):
        read_gqa(tmp_path / 'binary.json', tmp_path)
    (tmp_path / 'cut.json').write_text(json.dumps(dict(a=1))[:-1])
    with pytest.raises(DataError, match='is not JSON.*cut short'):
        read_gqa(tmp_path / 'cut.json', tmp_path)
