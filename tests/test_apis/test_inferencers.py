"""Images of every kind, one or many, give the same captions."""

import numpy as np
import pytest
from PIL import Image

from mmllava import get_model, inference_model
from mmllava.errors import ConfigError, ImageError, PromptError
from tests.conftest import MODELS, tiny_config

PICTURES = [MODELS / f'images/{k}.png' for k in range(3)]


@pytest.fixture(scope='module')
def captioner(checkpoints):
    return get_model(
        tiny_config('v1.5', task='caption'), pretrained=str(checkpoints['v1.5']), device='cpu'
    )


@pytest.fixture(scope='module')
def answerer(checkpoints):
    return get_model(tiny_config('v1.5'), pretrained=str(checkpoints['v1.5']), device='cpu')


@pytest.fixture(scope='module')
def expected(captioner):
    return [inference_model(captioner, str(p))['pred_caption'] for p in PICTURES]


def all_captions(model, inputs, **kwargs):
    from mmpretrain import ImageCaptionInferencer

    return [out['pred_caption'] for out in ImageCaptionInferencer(model)(inputs, **kwargs)]


def test_captions_differ_so_that_the_other_tests_can_fail(expected):
    assert len(set(expected)) == 3


@pytest.mark.parametrize('batch_size', [1, 2, 3])
def test_a_list_in_batches_gives_what_one_at_a_time_gives(captioner, expected, batch_size):
    assert all_captions(captioner, [str(p) for p in PICTURES], batch_size=batch_size) == expected


@pytest.mark.parametrize(
    'read',
    [
        Image.open,
        lambda p: np.array(Image.open(p).convert('RGB'))[..., ::-1],  # BGR
        lambda p: p.read_bytes(),
        lambda p: p,
    ],
    ids=['Pillow', 'array', 'bytes', 'Path'],
)
def test_pictures_in_memory_give_what_their_files_give(captioner, expected, read):
    assert all_captions(captioner, [read(p) for p in PICTURES], batch_size=3) == expected


def test_a_folder_gives_its_pictures_by_name(captioner, expected):
    assert all_captions(captioner, str(MODELS / 'images'))[:3] == expected


def test_one_bad_picture_raises_with_its_name(captioner, tmp_path):
    with pytest.raises(ImageError, match=r'no image at .*gone.png'):
        all_captions(captioner, [str(PICTURES[0]), str(tmp_path / 'gone.png')])


def test_predicting_all_records_a_bad_picture_and_keeps_the_others(captioner, expected, tmp_path):
    from mmllava.apis.inferencers import CaptionInferencer

    inputs = [dict(img=p) for p in (PICTURES[0], tmp_path / 'gone.png', PICTURES[1])]
    records = CaptionInferencer(captioner).predict_all(inputs, show_dir=tmp_path / 'shown')
    assert [r.get('pred_caption') for r in records] == [expected[0], None, expected[1]]
    assert 'no image at' in records[1]['error'] and 'error' not in records[0]
    assert sorted(f.name for f in (tmp_path / 'shown').iterdir()) == ['0.png', '1.png']


def test_captions_are_drawn_below_the_pictures(captioner, tmp_path):
    inference_model(captioner, str(PICTURES[2]), show_dir=tmp_path / 'new' / 'shown')
    drawn = Image.open(tmp_path / 'new/shown/2.png')
    original = Image.open(PICTURES[2])
    assert drawn.width == original.width and drawn.height > original.height


def test_one_question_is_asked_of_every_picture(answerer):
    """Upstream takes the question's single letters, one for each image."""
    from mmpretrain import VisualQuestionAnsweringInferencer

    ask = VisualQuestionAnsweringInferencer(answerer)
    pictures = [str(p) for p in PICTURES]
    question = 'What color is the star?'
    together = ask(pictures, question, batch_size=3)
    assert [out['question'] for out in together] == [question] * 3
    assert together == [inference_model(answerer, p, question) for p in pictures]


def test_several_questions_are_asked_of_one_picture(answerer):
    from mmpretrain import VisualQuestionAnsweringInferencer

    questions = ['What color is the star?', 'Why?']
    out = VisualQuestionAnsweringInferencer(answerer)(str(PICTURES[0]), questions)
    assert [o['question'] for o in out] == questions


def test_pictures_and_questions_that_do_not_fit_are_counted(answerer):
    from mmpretrain import VisualQuestionAnsweringInferencer

    with pytest.raises(PromptError, match='3 images were given with 2 questions'):
        VisualQuestionAnsweringInferencer(answerer)([str(p) for p in PICTURES], ['a', 'b'])


def test_generation_settings_of_a_call_come_before_the_configs(captioner, expected):
    picture = str(PICTURES[0])
    short = inference_model(captioner, picture, max_new_tokens=3)['pred_caption']
    assert len(short) < len(expected[0]) and expected[0].startswith(short)
    assert inference_model(captioner, picture, num_beams=3)['pred_caption'] != expected[0]
    assert inference_model(captioner, picture)['pred_caption'] == expected[0]


def test_an_unknown_setting_of_a_call_is_named(captioner):
    with pytest.raises(ValueError, match=r"unknown argument \{'max_new_token'\}"):
        inference_model(captioner, str(PICTURES[0]), max_new_token=3)


def test_a_drawing_never_takes_the_place_of_an_original(captioner, tmp_path):
    picture = tmp_path / 'x.png'
    picture.write_bytes(PICTURES[0].read_bytes())
    with pytest.raises(ConfigError, match='saved in the folder of the images'):
        inference_model(captioner, str(picture), show_dir=tmp_path)
    assert picture.read_bytes() == PICTURES[0].read_bytes()


def test_a_caption_model_refuses_a_question(captioner):
    with pytest.raises(PromptError, match=r"this model captions, and got the question 'Why\?'"):
        inference_model(captioner, str(PICTURES[0]), 'Why?')


def test_a_batch_of_no_pictures_is_refused(captioner):
    with pytest.raises(ConfigError, match='batch_size is 0, expected 1 or more'):
        all_captions(captioner, [str(PICTURES[0])], batch_size=0)


@pytest.mark.parametrize('batch_size', [1, 2, 4])
def test_samples_of_several_pictures_keep_their_own_in_a_batch(answerer, batch_size):
    from mmpretrain import VisualQuestionAnsweringInferencer

    paths = [str(MODELS / f'images/{k}.png') for k in range(6)]
    samples = [paths[:2], paths[2:4], [paths[4]], []]
    infer = VisualQuestionAnsweringInferencer(answerer)
    answers = infer(samples, ['What is it?'] * 4, batch_size=batch_size)
    alone = [infer([own], ['What is it?'])[0] for own in samples]
    assert answers == alone
    assert len({out['pred_answer'] for out in alone}) == 4
    assert infer([paths[:2]], ['What is it?']) != infer([paths[1::-1]], ['What is it?'])


def test_several_pictures_of_a_sample_are_drawn_side_by_side(answerer, tmp_path):
    pair = [str(PICTURES[0]), str(PICTURES[1])]
    out = inference_model(answerer, [pair], 'What differs?', show_dir=tmp_path)
    sizes = [Image.open(path).size for path in pair]
    drawn = Image.open(tmp_path / f'{PICTURES[0].stem}.png')
    assert out['pred_answer'] is not None
    assert drawn.width == sum(width for width, _ in sizes)
    assert drawn.height > max(height for _, height in sizes)


def test_none_is_a_question_without_a_picture(answerer, tmp_path):
    alone = inference_model(answerer, None, 'Who are you?', show_dir=tmp_path)
    assert alone['pred_answer'] == inference_model(answerer, [[]], 'Who are you?')['pred_answer']
    assert [file.name for file in tmp_path.iterdir()] == ['0.png']


def test_no_picture_at_all_is_told(answerer, captioner):
    with pytest.raises(ImageError, match='the list of images is empty'):
        inference_model(answerer, [], 'What?')
    with pytest.raises(ImageError, match='there is no image to caption'):
        inference_model(captioner, None)


def test_a_model_that_answers_needs_a_question(answerer):
    with pytest.raises(PromptError, match='this model answers questions, and got none'):
        inference_model(answerer, str(PICTURES[0]))
