"""What a row of a training file must be, and how long it counts."""

import pytest

from mmllava.datasets.llava_json import BadSample, count_words, read_annotations, to_sample
from mmllava.errors import DataError
from tests.test_datasets.conftest import talk

IMAGE = dict(image='a.png', conversations=talk('<image>\nWhat is it?', 'A red cat.'))


def test_a_record_becomes_a_path_and_its_conversation():
    assert to_sample(IMAGE, 'photos') == dict(
        img_path='photos/a.png', conversations=IMAGE['conversations']
    )


@pytest.mark.parametrize('image', [{}, dict(image=None), dict(image=[])])
def test_a_text_only_record_has_no_image(image):
    assert to_sample(dict(image, conversations=talk('Hello.')), '')['img_path'] == []


def test_a_list_of_images_keeps_its_order():
    record = dict(image=['b.png', 'a.png'], conversations=talk('<image><image> Which?'))
    assert to_sample(record, 'r')['img_path'] == ['r/b.png', 'r/a.png']
    one = dict(image=['a.png'], conversations=talk('<image>'))
    assert to_sample(one, 'r')['img_path'] == 'r/a.png'


def test_an_image_and_its_caption_are_a_record_too():
    sample = to_sample(dict(image='a.png', caption='a cat'), '')
    assert sample['conversations'] == talk('<image>', 'a cat')


def test_words_are_counted_and_signed_by_modality():
    assert count_words(IMAGE) == 7
    assert count_words(dict(conversations=talk('Hello  there.\n', 'Yes.'))) == -3
    assert count_words(dict(image='a.png', caption='a red cat')) == 3
    assert count_words(dict(conversations=talk('', ''))) == -1
    assert count_words('no record') == count_words({}) == -1


@pytest.mark.parametrize(
    ('record', 'fault', 'message'),
    [
        (dict(IMAGE, image=['a.png', 'b.png']), 'marks', '1 <image> marks, and the record has 2'),
        (
            dict(conversations=talk('<image> Why?')),
            'marks',
            '1 <image> marks, and the record has 0',
        ),
        (dict(image='a.png', conversations=talk('Why?')), 'marks', '0 <image> marks'),
        (
            dict(image='a.png', conversations=talk('<image>') + talk('<image>')),
            'marks',
            '2 <image> marks, and the record has 1',
        ),
        (dict(conversations=talk('Why?', ' ')), 'empty', 'no answer to learn'),
        (dict(conversations=talk('Why?')[:1]), 'empty', 'no answer to learn'),
        (dict(conversations=[]), 'empty', 'no answer to learn'),
        (dict(conversations=talk('Why?', 'So.')[1:]), 'empty', 'no answer to learn'),
        ('text', 'format', 'the record is text, expected an object'),
        ({}, 'format', '"conversations" is None'),
        (dict(conversations='Hello'), 'format', '"conversations" is Hello'),
        (dict(conversations=['Hello']), 'format', 'expected a list of'),
        (dict(conversations=[dict(role='user')]), 'format', "message 0 is {'role': 'user'}"),
        (dict(IMAGE, image=3), 'format', '"image" is \'3\', expected a path'),
        (dict(IMAGE, image=''), 'format', 'expected a path'),
        (dict(IMAGE, image='../a.png'), 'format', 'lies outside of photos'),
        (dict(IMAGE, image='/etc/a.png'), 'format', 'lies outside of'),
        (dict(IMAGE, image='a\0.png'), 'format', 'has a NUL character'),
    ],
)
def test_an_unusable_record_is_refused_with_its_fault(record, fault, message):
    with pytest.raises(BadSample, match=message) as caught:
        to_sample(record, 'photos')
    assert caught.value.fault == fault


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{"id": 1}\n{"id": 2}\n', 'is not JSON in UTF-8'),
        ('{"id": 1}', 'holds a JSON dict; expected a list of records'),
        ('[]', 'holds an empty list'),
    ],
)
def test_a_file_that_is_no_list_of_records_is_refused(tmp_path, text, message):
    (tmp_path / 'a.json').write_text(text)
    with pytest.raises(DataError, match=message):
        read_annotations(tmp_path / 'a.json')


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r'cannot read .*gone\.json: No such file'):
        read_annotations(tmp_path / 'gone.json')
