"""What another program asks is answered in batches as it would be alone, in its order."""

import pytest

from mmllava.errors import ConfigError, PromptError
from mmllava.integrations.batched import BatchedModel, Request, load_for_questions, to_settings
from tests.conftest import MODELS

SHORT = dict(do_sample=False, max_new_tokens=5)
LONGER = dict(do_sample=False, max_new_tokens=9)


@pytest.fixture(scope='module')
def model():
    return load_for_questions(MODELS / 'llava-v1.5', tower=str(MODELS / 'clip-tiny'), device='cpu')


def picture(number):
    return str(MODELS / f'images/{number}.png')


REQUESTS = [
    Request('Is it?', [picture(0)], SHORT),
    Request('What is on the blanket?', [picture(1)], LONGER),
    Request('What else is there to be seen?', [picture(2)], SHORT),
    Request('Who wrote this?', [], SHORT),
    Request('Which is larger?', [picture(3), picture(4)], SHORT),
]


def test_a_batch_answers_as_one_by_one_in_the_order_of_the_requests(model, monkeypatch):
    alone = [BatchedModel(model)([request])[0] for request in REQUESTS]
    assert len(set(alone)) == len(alone) and all(alone)
    batches = []
    predict = type(model).predict
    monkeypatch.setattr(
        type(model),
        'predict',
        lambda self, images, samples, **g: (
            batches.append([s.get('question') for s in samples]),
            predict(self, images, samples, **g),
        )[1],
    )
    counted = []
    assert BatchedModel(model, 2)(REQUESTS, counted.append) == alone
    # Equal settings together; of these, long ones first: two images, then one, then none.
    assert [[q.split()[0] for q in batch] for batch in batches] == [
        ['Which', 'What'],
        ['Is', 'Who'],
        ['What'],
    ]
    assert counted == [2, 2, 1]


def test_nothing_is_added_to_a_question(model):
    assert model.prompt_builder.preset.suffix == '' and model.prompt_builder.task == 'vqa'


def test_until_cuts_no_answer(model):
    whole = BatchedModel(model)(REQUESTS[:1])[0]
    settings = to_settings(dict(max_new_tokens=5, until=[whole[3:5]]))
    assert BatchedModel(model)([Request('Is it?', [picture(0)], settings)]) == [whole]


def test_an_answer_is_handed_on_as_the_model_gave_it(model, monkeypatch):
    monkeypatch.setattr(BatchedModel, '_ask', lambda self, requests, batch: [' a\n\nb '])
    assert BatchedModel(model)(REQUESTS[:1]) == [' a\n\nb ']


@pytest.mark.parametrize(
    ('given', 'settings'),
    [
        ({}, dict(do_sample=False, max_new_tokens=1024)),
        (
            dict(temperature=0, top_p=1.0, num_beams=1, max_new_tokens=16, until=['x']),
            dict(do_sample=False, num_beams=1, max_new_tokens=16),
        ),
        (
            dict(temperature=0, do_sample=True, image_aspect_ratio='original'),
            dict(do_sample=False, max_new_tokens=1024),
        ),
        (
            dict(temperature=0.2, do_sample=False, top_p=None, max_new_tokens=4),
            dict(do_sample=True, temperature=0.2, max_new_tokens=4),
        ),
    ],
)
def test_settings_of_a_task_mean_what_they_mean_to_the_original(given, settings):
    assert to_settings(given) == settings


def test_what_cannot_be_asked_is_no_empty_answer(model):
    with pytest.raises(PromptError, match='1 <image> tags but 2 images'):
        BatchedModel(model)([Request('<image>\nWhy?', [picture(0), picture(1)], SHORT)])
    with pytest.raises(ConfigError, match="setting 'max_tokens'"):
        BatchedModel(model)([Request('Why?', [picture(0)], dict(max_tokens=3))])


def test_bad_arguments_are_answered(model):
    with pytest.raises(ConfigError, match='batch_size is 0, expected a whole number from 1 on'):
        BatchedModel(model, 0)
    with pytest.raises(ConfigError, match="tower='x' and model='[^']+' exclude each other"):
        load_for_questions('y', model='llava-7b-v1.5_chat', tower='x')
