"""Files that are JSON, and still not what a set's readers can take: refused, by message."""

import json

import pytest

from mmllava.benchmarks.captions import read_coco
from mmllava.benchmarks.files import read_json, read_lines, read_table
from mmllava.benchmarks.multiple_choice import read_seed
from mmllava.benchmarks.scienceqa import read_scienceqa
from mmllava.benchmarks.vqa import read_gqa, read_vqav2
from mmllava.errors import DataError

V2 = 'annotations/v2_OpenEnded_mscoco_{}_questions.json'
TRUTH = 'annotations/v2_mscoco_val2014_annotations.json'
READERS = {
    'vqa': lambda f: read_vqav2(f / V2.format('val2014'), f, f / TRUTH),
    'test': lambda f: read_vqav2(
        f / V2.format('test-dev2015'), f, all_questions=f / V2.format('test2015')
    ),
    'coco': lambda f: read_coco(f / 'annotations/captions_val2014.json', f),
    'scienceqa': lambda f: read_scienceqa(f / 'problems.json', f / 'pid_splits.json', f),
    'gqa': lambda f: read_gqa(f / 'testdev_balanced_questions.json', f),
    'seed': lambda f: read_seed(f / 'SEED-Bench.json', f),
}


@pytest.mark.parametrize(
    ('name', 'file', 'change', 'message'),
    [
        ('vqa', TRUTH, lambda c: c['annotations'][0].update(question_id=[1]), r'\[0\] has "qu'),
        (
            'test',
            V2.format('test2015'),
            lambda c: c['questions'].append(c['questions'][7]),
            r'questions\[12\] has the question_id 70 of .* again',
        ),
        (
            'coco',
            'annotations/captions_val2014.json',
            lambda c: c['images'][1].update(id=[1]),
            r'images\[1\] has "id" .*expected a number or a string',
        ),
        (
            'coco',
            'annotations/captions_val2014.json',
            lambda c: [row.pop('id') for row in c['images']] and None,
            r'images\[0\] has no "id"',
        ),
        (
            'coco',
            'annotations/captions_val2014.json',
            lambda c: c['images'][0].update(file_name='a\0.jpg'),
            r'images\[0\] names .*has a NUL character in it',
        ),
        ('scienceqa', 'pid_splits.json', lambda c: c.update(test=[]), "has no id in 'test'"),
        ('scienceqa', 'pid_splits.json', lambda c: c.update(test=None), 'has "test" .* a list'),
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
        ('seed', 'SEED-Bench.json', lambda c: c.update(question_type=[1]), 'has "question_type" '),
        (
            'seed',
            'SEED-Bench.json',
            lambda c: c.update(question_type={'Sight': [1]}),
            'question_type has "Sight" .*expected a number',
        ),
    ],
)
def test_a_record_of_another_shape_is_refused(copied, spoil, name, file, change, message):
    folder = copied('coco' if name in ('vqa', 'test') else name)
    spoil(folder / file, change)
    with pytest.raises(DataError, match=message):
        READERS[name](folder)


def test_a_key_that_comes_twice_is_refused(tmp_path):
    file = tmp_path / 'a.json'
    file.write_text('{"1": {"question": "a"}, "1": {"question": "b"}}')
    with pytest.raises(
        DataError, match=r"a.json is not JSON: the key '1' stands twice in one object"
    ):
        read_json(file, dict)
    file.write_text('{"id": 1}\n{"id": 1, "id": 2}')
    with pytest.raises(DataError, match=r"line 2 is not JSON: the key 'id' stands twice"):
        read_lines(file)


def test_a_whole_character_in_two_escapes_is_read(tmp_path):
    file = tmp_path / 'a.json'
    file.write_text(json.dumps(['\U0001f600']))
    assert '\\ud83d' in file.read_text()
    assert read_json(file, list) == ['\U0001f600']


def test_only_a_line_break_ends_a_line(tmp_path):
    file = tmp_path / 'a.jsonl'
    row = dict(text='one\u2028two\x85three')
    file.write_text(json.dumps(row, ensure_ascii=False) + '\r\n', encoding='utf-8', newline='')
    assert [found for _, found in read_lines(file)] == [row]
    file.write_text('one\u2028two\tYes\n', encoding='utf-8')
    assert [cells for _, cells in read_table(file)] == [['one\u2028two', 'Yes']]
