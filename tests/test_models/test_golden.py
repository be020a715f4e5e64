"""Ours gives what the original gave, through mmpretrain's own functions."""

import copy

import numpy as np
import pytest
import torch

from mmllava.prompts.templates import get_template
from tests.conftest import MODELS


@pytest.fixture(scope='module')
def recorded(golden, version):
    return golden['models'][version]


@pytest.fixture(scope='module')
def inferencer(tiny_model):
    from mmpretrain import VisualQuestionAnsweringInferencer

    return VisualQuestionAnsweringInferencer(tiny_model)


def answers(inferencer, rows, batch_size):
    images = [str(MODELS / row['image']) for row in rows]
    questions = [row['question'] for row in rows]
    return [out['pred_answer'] for out in inferencer(images, questions, batch_size=batch_size)]


def one(inferencer, image, **fields):
    """A batch of one image, through pipeline and preprocessor."""
    data = inferencer.pipeline(dict(img=str(MODELS / image)))
    for name, value in fields.items():
        data['data_samples'].set_field(value, name)
    return inferencer.model.data_preprocessor(
        dict(inputs=[data['inputs']], data_samples=[data['data_samples']])
    )


def test_input_ids_are_the_originals(tiny_model, recorded):
    from mmengine.structures import BaseDataElement

    for row in recorded['predict']:
        sample = BaseDataElement(question=row['question'])
        assert tiny_model.prompt_builder.encode_prompt(sample).input_ids == row['input_ids']


@pytest.mark.parametrize('batch_size', [1, 6, 12])
def test_greedy_answers_are_the_originals_alone_and_in_a_batch(inferencer, recorded, batch_size):
    expected = [row['greedy_text'] for row in recorded['predict']]
    assert answers(inferencer, recorded['predict'], batch_size) == expected


@pytest.mark.parametrize('batch_size', [1, 12])
def test_beam_answers_are_the_originals(inferencer, recorded, batch_size):
    inferencer.model.generation_cfg['num_beams'] = 3
    try:
        expected = [row['beam3_text'] for row in recorded['predict']]
        assert answers(inferencer, recorded['predict'], batch_size) == expected
    finally:
        inferencer.model.generation_cfg['num_beams'] = 1


def test_pixels_are_the_originals(inferencer, golden_arrays, version):
    aspect = {'v1': 'square', 'v1.5': 'pad', 'v1.6': 'anyres'}[version]
    for number in range(6):
        pixels = one(inferencer, f'images/{number}.png')['images'][0]
        expected = golden_arrays[f'pixels/{aspect}/{number}']
        assert np.abs(pixels.numpy() - expected).max() < 1e-5


@torch.no_grad()
def test_logits_are_the_originals(inferencer, recorded, golden_arrays, version):
    for number, row in enumerate(recorded['predict']):
        batch = one(inferencer, row['image'], question=row['question'])
        logits = inferencer.model(**batch, mode='tensor')[0]
        expected = golden_arrays[f'logits/{version}/{number}']
        assert len(logits) == row['merged_len']
        assert np.abs(logits[-4:].numpy() - expected).max() < 1e-4


@torch.no_grad()
def test_loss_is_the_originals(inferencer, recorded):
    model = copy.copy(inferencer.model)
    model.prompt_builder = builder = copy.copy(model.prompt_builder)
    for row in recorded['loss']:
        builder.template_name, builder.template = row['template'], get_template(row['template'])
        batch = one(inferencer, row['image'], conversations=row['conversations'])
        assert model(**batch, mode='loss')['loss'].item() == pytest.approx(row['loss'], abs=1e-5)


def test_rows_of_unequal_length_do_not_touch_each_other(inferencer, recorded):
    """A question of twice the length beside a short one: padding must not be attended."""
    rows = [dict(row) for row in recorded['predict'][:4]]
    rows[1]['question'] = rows[3]['question'] = 'Why? ' * 20 + rows[0]['question']
    alone = answers(inferencer, rows, 1)
    assert answers(inferencer, rows, 4) == alone
    assert answers(inferencer, rows[::-1], 4) == alone[::-1]


def test_two_pictures_in_one_prompt_give_the_originals_answer(inferencer, recorded, version):
    if not recorded['multi_image']:
        pytest.skip(f'no recording of several images for {version}')
    model = inferencer.model
    for row in recorded['multi_image']:
        question = row['prompt'].split('USER: ')[1].removesuffix(' ASSISTANT:')
        pictures = [str(MODELS / name) for name in row['images']]
        data = inferencer.pipeline(dict(img=pictures))
        data['data_samples'].set_field(question, 'question')
        batch = model.data_preprocessor(
            dict(inputs=[data['inputs']], data_samples=[data['data_samples']])
        )
        assert model(**batch)[0].pred_answer == row['greedy_text']
