"""The files: as our readers and mmpretrain's expect them, complete, and the same each time."""

import json
import random
import re
from collections import Counter

import pytest

from mmllava.datasets.llava_json import read_annotations, to_sample
from mmllava.metrics.captions import read_references, score_captions
from mmllava.prompts.encode import encode
from mmllava.prompts.render import render
from mmllava.prompts.templates import get_template
from mmllava.prompts.tokenizer import LlamaTokenizer
from mmllava.structures import Turn
from projects.llava_tiny.build_dataset import (
    scored_questions,
    write_captions,
    write_images,
    write_questions,
    write_tokenizer,
    write_training,
)
from projects.llava_tiny.conversations import SHORT, second_image_row
from projects.llava_tiny.dialogue_eval import make_talk
from projects.llava_tiny.scenes import make_scene
from projects.llava_tiny.sentences import SCORED, captions


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('world')
    write_training(folder, write_images(folder, 'train', 40))
    scenes = write_images(folder, 'test', 20)
    write_captions(folder, scenes, 'test')
    write_questions(folder, scenes, 'test', 40)
    return folder


def test_every_conversation_can_be_learned_and_its_pictures_are_there(folder):
    talk = read_annotations(folder / 'talk.json')
    assert len(talk) == 3 * 40 + 40 // 2 + 40 // 8
    for row in talk:
        sample = to_sample(row, str(folder / 'images'))
        paths = sample['img_path']
        for path in paths if isinstance(paths, list) else [paths]:
            with open(path, 'rb') as file:
                assert file.read(4) == b'\x89PNG'
    for row in read_annotations(folder / 'align.json'):
        to_sample(row, str(folder / 'images'))
    assert sum(isinstance(row.get('image'), list) for row in talk) == 40 // 2
    assert sum('image' not in row for row in talk) == 40 // 8


def test_what_is_where_is_told_of_every_picture(folder):
    rows = json.loads((folder / 'things.json').read_text())
    assert [row['image'] for row in rows] == [f'train/{k:012}.png' for k in range(40)]
    for number, row in enumerate(rows):
        things = make_scene('train', number).things
        assert [(t['x'], t['y']) for t in row['things']] == [(t.x, t.y) for t in things]
        assert [t['words'][:2] for t in row['things']] == [[t.kind, t.color] for t in things]
        order = [t['words'][4] for t in row['things']]
        assert order == ['one', 'two', 'three', 'four'][: len(order)]


def test_the_same_files_each_time(folder, tmp_path):
    write_training(tmp_path, write_images(tmp_path, 'train', 40))
    for name in ('things.json', 'align.json', 'talk.json', 'images/train/000000000039.png'):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_the_wish_for_a_word_stands_in_a_first_question_only(folder):
    for row in read_annotations(folder / 'talk.json'):
        asked = [turn['value'] for turn in row['conversations'] if turn['from'] == 'human']
        assert not [text for text in asked[1:] if SHORT in text]


def test_of_most_pictures_nothing_is_said_before_the_last_questions(folder):
    """There would be somewhere else to look for the answers than in the picture."""
    told = 0
    rows = [r for r in read_annotations(folder / 'talk.json') if isinstance(r.get('image'), str)]
    for row in rows:
        first, *later = [t['value'] for t in row['conversations'] if t['from'] == 'human']
        told += bool(later) and ('caption' in first or 'Describe' in first)
    assert 0 < told < 0.3 * len(rows)


def test_of_a_second_picture_is_asked_what_was_asked_of_the_first():
    rng, again, named = random.Random(0), 0, set()
    for number in range(40):
        scenes = [make_scene('train', 2 * number), make_scene('train', 2 * number + 1)]
        turns = second_image_row(scenes, ['a.png', 'b.png'], rng)['conversations']
        asked = [turn['value'] for turn in turns if turn['from'] == 'human']
        shown = [k for k, text in enumerate(asked) if '<image>' in text]
        assert len(shown) == 2 and shown[0] == 0
        again += asked[shown[1]].removeprefix('<image>\n') in asked[shown[1] - 1]
        which = [re.search('in the (first|second) picture', text) for text in asked]
        assert sum(map(bool, which)) in (0, 2)
        named |= {found[1] for found in which if found}
    assert again >= 30 and named == {'first', 'second'}


def test_captions_are_read_as_cocos_with_five_references_each(folder):
    references = read_references(folder / 'test_gt.json')
    assert len(references) == 20 and {len(texts) for texts in references.values()} == {5}
    said = {k: captions(make_scene('test', k))[0] for k in range(20)}
    assert score_captions(references, said).corpus['Bleu_4'] == pytest.approx(1)
    rows = json.loads((folder / 'test.json').read_text())
    assert rows[3]['image'] == 'test/000000000003.png' and len(rows[3]['caption']) == 5


def test_questions_are_read_as_vqav2s(folder):
    from mmpretrain.datasets import COCOVQA

    data = COCOVQA(
        str(folder), 'images/test', 'test_questions.json', 'test_answers.json', pipeline=[]
    )
    assert len(data) == 40
    first = data[0]
    assert first['img_path'].endswith(f'{first["image_id"]:012}.png') and first['gt_answer']


def test_as_many_questions_of_each_kind_and_yes_as_often_as_no():
    scenes = [make_scene('test', number) for number in range(100)]
    asked = [question for _, question in scored_questions(scenes, 200)]
    assert Counter(q.kind for q in asked) == dict.fromkeys(SCORED, 50)
    assert Counter(q.short for q in asked if q.kind == 'yes/no') == dict(Yes=25, No=25)


def test_a_talks_second_picture_has_another_answer_to_a_question_that_was_asked():
    scenes, rng = [make_scene('test', number) for number in range(100)], random.Random(0)
    for _ in range(50):
        talk = make_talk(scenes, rng)
        before = {question.text: question.sentence for question in talk.about_first}
        again, other = talk.about_second
        assert before[again.text] != again.sentence and other.text != again.text
        assert len(before) == 3


@pytest.mark.slow
def test_the_tokenizer_spells_the_prompt_in_whole_words_and_anything_in_bytes(tmp_path):
    write_tokenizer(tmp_path)
    tokenizer = LlamaTokenizer(tmp_path)
    template = get_template('vicuna_v1')
    turns = [Turn('user', '<image>\nWhere is the purple house?'), Turn('assistant', None)]
    assert len(encode(render(template, turns), tokenizer, 1).input_ids) < 76
    for scene in (make_scene('train', number) for number in range(100)):
        text = captions(scene)[0]
        assert len(tokenizer.encode(text)) <= len(text.replace(',', ' ,').split()) + 5
    for text in ('The picture shows a yellow boat.', 'Grüße, 猫!'):
        assert tokenizer.decode(tokenizer.encode(text)).strip() == text
