"""Answers of other programs are matched with a set, or refused with the record."""

import json

import pytest

from mmllava.benchmarks.answer_files import read_answers
from mmllava.benchmarks.check_images import check_images
from mmllava.benchmarks.types import Item
from mmllava.errors import DataError
from tests.conftest import ROOT
from tools.analysis_tools import score_answers
from tools.misc import check_data

ITEMS = [Item(7), Item(8), Item('9')]


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        (
            'a.jsonl',
            '{"question_id": 7, "text": "x", "prompt": "?"}\n\n{"image_id": "9", "caption": ""}',
        ),
        ('a.json', '[{"questionId": "7", "prediction": "x"}, {"id": 9, "answer": ""}]'),
        ('a.json', '{"7": "x", "9": ""}'),
    ],
)
def test_answers_of_llava_of_servers_and_ours(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read_answers(tmp_path / name, ITEMS) == ['x', None, '']


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('[]', 'is empty'),
        ('[{"id": 5, "text": "x"}]', r'\[0\] answers 5, which this set does not ask'),
        ('[{"id": 7, "text": "x"}, {"id": "7", "text": "y"}]', r"\[1\] answers '7' a second time"),
        ('[{"id": 7}]', r'\[0\] is .* expected an id'),
        ('[{"id": 7, "text": 3}]', r'\[0\] is .* expected an id'),
        ('{"7": 3}', 'no list of answers and no object'),
        ('3', 'holds a number, expected a list or an object'),
    ],
)
def test_a_bad_answer_file_is_refused(tmp_path, text, message):
    (tmp_path / 'a.json').write_text(text)
    with pytest.raises(DataError, match=message):
        read_answers(tmp_path / 'a.json', ITEMS)


def options(made, config, root):
    config = ROOT / f'configs/benchmarks/{config}.py'
    return config, f'test_dataloader.dataset.data_root={made / root}'


def test_files_are_scored_without_a_model(made, tmp_path, capsys):
    config, root = options(made, 'gqa', 'gqa')
    answers = tmp_path / 'a.json'
    answers.write_text(json.dumps({'2000': 'Yes.', '2001': 'green'}))
    args = [str(config), str(answers), '--out-dir', str(tmp_path / 'sent'), '--cfg-options', root]
    assert score_answers.main(args) == 0
    *_, told, _, _, _, last = capsys.readouterr().out.splitlines()
    assert told == "4 of 6 have no answer, the first are ['2002', '2003', '2004', '2005']"
    found = json.loads(last)
    assert found == pytest.approx(
        dict(items=6, missing=4, accuracy=100 / 3, binary=100 / 3, open=100 / 3)
    )
    assert len(json.loads((tmp_path / 'sent/testdev_balanced_predictions.json').read_text())) == 6
    answers.write_text('{"5": "x"}')
    assert score_answers.main(args) == 2
    assert "answers '5', which this set does not ask" in capsys.readouterr().err


def test_a_set_without_truth_says_where_it_is_scored(made, tmp_path, capsys):
    config, root = options(made, 'mmvet', 'mm-vet')
    (tmp_path / 'a.json').write_text('{"v1_0": "a square"}')
    assert score_answers.main([str(config), str(tmp_path / 'a.json'), '--cfg-options', root]) == 2
    assert 'MM-Vet is scored by a server or a judge; --out-dir' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('given', 'more', 'name'),
    [
        ([], '', 'mine-7b'),
        ([], ', "model_id": "llava-13b"', 'llava-13b'),
        ([], ', "model_id": null', 'mine-7b'),
        (['--model-id', 'x'], ', "model_id": "llava-13b"', 'x'),
    ],
)
def test_the_judge_is_told_who_answered(made, tmp_path, given, more, name, capsys):
    config, root = options(made, 'llava_bench_wild', 'llava-bench-in-the-wild')
    file = tmp_path / 'mine-7b.jsonl'
    file.write_text(f'{{"question_id": 0, "text": "A square."{more}}}')
    args = [str(config), str(file), '--out-dir', str(tmp_path), *given, '--cfg-options', root]
    assert score_answers.main(args) == 0
    (row,) = map(json.loads, (tmp_path / 'answers.jsonl').read_text().splitlines())
    assert row['model_id'] == name


def test_every_picture_of_a_set_is_looked_at_once(made, copied, tmp_path, capsys):
    folder = copied('coco')
    (folder / 'val2014/COCO_val2014_000000000001.jpg').unlink()
    (folder / 'val2014/COCO_val2014_000000000002.jpg').write_bytes(b'no picture')
    config, root = options(tmp_path, 'vqav2_val', 'coco')
    args = [str(config), '--workers', '0', '--out', str(tmp_path / 'out'), '--cfg-options', root]
    assert check_data.main(args) == 1
    said = capsys.readouterr().out
    assert json.loads(said.splitlines()[-1]) == dict(
        questions=12, answers=12, images=6, bad=dict(missing=1, broken=1)
    )
    assert 'question 0: no picture at' in said
    assert 'question 20: ' in said
    assert 'Is square 0 red?\nAnswer the question using' in said
    assert len(json.loads((tmp_path / 'out/findings.json').read_text())) == 2
    args[-1] = options(made, 'vqav2_val', 'coco')[1]
    assert check_data.main(args) == 0
    args[-1] = options(made, 'vqav2_val', 'gone')[1]
    assert check_data.main(args) == 2
    assert 'cannot read' in capsys.readouterr().err
    assert check_images([Item(1, image=b'no'), Item(2)])[1][0]['kind'] == 'broken'


@pytest.mark.parametrize('flag', ['--tokenizer', '--max-tokens'])
def test_what_only_training_data_takes_is_refused_for_a_benchmark(flag, capsys):
    config = ROOT / 'configs/benchmarks/pope.py'
    assert check_data.main([str(config), flag, '3']) == 2
    assert f'{flag} goes with a config of training' in capsys.readouterr().err


ASK = '\nAnswer the question using a single word or phrase.'


def llava(id_, prompt, text='x', **more):
    return dict(question_id=id_, prompt=prompt + ASK, text=text, metadata={}, **more)


def item(id_, image, question):
    return Item(id_, dict(question=question), f'{image}.png', image)


POPE = [item(f'{k}/1', 'a', 'Is there a cat?') for k in ('random', 'popular')]
POPE += [item('random/2', 'b', 'Is there a dog?'), item('popular/2', 'b', 'Is there a car?')]
MME = [item(f'OCR/7/{n}', 'OCR/7', f'Is it {n}? Please answer yes or no.') for n in (0, 1)]
TEXT = [item(9, '0f', 'what is it?'), item(8, '0f', 'who is it?'), item(7, '0e', 'why?')]


@pytest.mark.parametrize(
    ('benchmark', 'items', 'rows', 'found'),
    [
        (
            'textvqa',
            TEXT,
            [llava('0f', 'Who is it?\nReference OCR token: A', 'u'), llava('0f', 'What is it?')],
            ['x', 'u', None],
        ),
        (
            'mme',
            MME,
            [llava('OCR/7.png', 'Is it 1?', 'No'), llava('OCR/7.png', 'Is it 0?')],
            'x No',
        ),
        (
            'pope',
            POPE,
            [llava(1, 'Is there a cat?', t) for t in 'ab']
            + [llava(2, 'Is there a car?', 'c'), llava(2, 'Is there a dog?', 'd')],
            'a b d c',
        ),
        ('mmvet', [Item('v1_0'), Item('v1_1')], [llava(1, '?', 'b'), llava(0, '?', 'a')], 'a b'),
        (
            'mmbench',
            [Item(3), Item(1_000_003)],
            [llava(3, '?', 'b', round_id=1), llava(3, '?', 'a', round_id=0)],
            'a b',
        ),
    ],
)
def test_the_ids_of_llavas_own_answer_files_are_known(tmp_path, benchmark, items, rows, found):
    (tmp_path / 'a.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    found = found.split() if isinstance(found, str) else found
    assert read_answers(tmp_path / 'a.jsonl', items, benchmark) == found


def test_an_id_that_several_questions_share_is_refused_without_a_prompt(tmp_path):
    (tmp_path / 'a.json').write_text('[{"question_id": 2, "text": "no"}]')
    with pytest.raises(DataError, match="may answer 'random/2' or 'popular/2'. Give our ids"):
        read_answers(tmp_path / 'a.json', POPE, 'pope')
