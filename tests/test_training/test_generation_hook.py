"""A run that asks its model something now and then."""

import json
from typing import ClassVar

import numpy as np
import pytest
import torch
from mmengine.visualization import BaseVisBackend
from PIL import Image

from mmllava import ChatSession, get_model
from mmllava.images.load import load_image
from mmllava.registry import VISBACKENDS
from mmllava.training import generation_hook as hook
from tests.conftest import MODELS, tiny_config
from tests.helpers.training_run import TRAIN, losses, train
from tests.test_training.test_data import config_of
from tests.test_training.test_resume import weights_of

PICTURE = str(MODELS / 'images/3.png')
PROMPTS = [dict(image=PICTURE, question='What is it?'), dict(question='Who are you?')]


@VISBACKENDS.register_module()
class KeptPictures(BaseVisBackend):
    """A backend such as TensorBoard's, that keeps what it is given."""

    kept: ClassVar[list] = []

    def _init_env(self):
        pass

    @property
    def experiment(self):
        return None

    def add_image(self, name, image, step=0, **kwargs):
        self.kept.append((name, image, step))


def asking(tmp_path, prompts=PROMPTS, stage=None, **hook):
    """Six steps; the model is asked before the first, and after the third and the sixth."""
    config = config_of(TRAIN['batch'], tmp_path, 4)
    config.stage = stage or dict(train=['projector', 'language'])
    hook = dict(
        type='mmllava.GenerationHook', prompts=prompts, interval=3, max_new_tokens=8, **hook
    )
    config.custom_hooks.append(hook)
    return config


@pytest.fixture(scope='module')
def asked(tmp_path_factory):
    folder = tmp_path_factory.mktemp('asked')
    config = asking(folder)
    backends = [dict(type='LocalVisBackend'), dict(type='mmllava.KeptPictures')]
    config.visualizer = dict(type='Visualizer', vis_backends=backends)
    assert train(config, folder) == 0
    return folder


def test_each_asking_is_a_picture_and_lines_of_text(asked):
    lines = [json.loads(x) for x in (asked / 'prompts/answers.jsonl').read_text().splitlines()]
    assert [(line['step'], line['question']) for line in lines] == [
        (step, prompt['question']) for step in (0, 3, 6) for prompt in PROMPTS
    ]
    for step in (0, 3, 6):
        with Image.open(asked / f'prompts/iter_{step}.png') as page:
            assert page.width > 448  # two panels, one of them without an image
            bottom = np.asarray(page)[340:]
            assert (bottom < 100).any()  # ink below the image
    kept = [(name, step) for name, _, step in KeptPictures.kept]
    assert kept == [('prompts', step) for step in (0, 3, 6)]


def test_its_last_answer_is_that_of_the_checkpoint(asked):
    lines = [json.loads(x) for x in (asked / 'prompts/answers.jsonl').read_text().splitlines()]
    model = get_model(tiny_config('v1.5'), pretrained=str(asked / 'iter_6'), device='cpu')
    chat = ChatSession(model)
    for line in lines[-2:]:
        chat.reset()
        settings = dict(temperature=0, max_new_tokens=8)
        assert line['answer'] == chat.ask(line['question'], line.get('image'), **settings)


@pytest.mark.slow
def test_training_is_the_same_to_the_bit_with_and_without(tmp_path):
    """Adapters with dropout draw random numbers at every step; rows are packed."""
    pytest.importorskip('peft')
    stage = dict(train=['projector'], lora=dict(r=4, alpha=8, dropout=0.3))
    found = []
    for name in ('with', 'without'):
        (tmp_path / name).mkdir()
        config = asking(tmp_path / name, stage=stage)
        config.model.pack = True
        if name == 'without':
            config.custom_hooks.pop()
        assert train(config, tmp_path / name) == 0
        found.append((losses(tmp_path / name), weights_of(tmp_path / name / 'iter_6')))
    assert found[0][0] == found[1][0]
    assert all(torch.equal(found[0][1][name], found[1][1][name]) for name in found[1][1])


def test_what_a_killed_run_was_answered_after_its_checkpoint_is_left_out(tmp_path):
    file = tmp_path / 'answers.jsonl'
    lines = [f'{json.dumps(dict(step=step, answer="é"))}\n' for step in (0, 3, 6)]
    file.write_text(''.join(lines) + '{"step": 3, "ans')
    hook._cut_answers(file, 3)
    assert file.read_text() == ''.join(lines[:2])
    hook._cut_answers(file, 0)  # asked again before the first step
    assert file.read_text() == ''


def test_a_projector_in_its_first_stage_captions(tmp_path, monkeypatch):
    """And each image is read once: at the end of a run it may be gone."""
    read = []
    monkeypatch.setattr(hook, 'load_image', lambda path: read.append(path) or load_image(path))
    config = asking(tmp_path, [dict(image=PICTURE)], dict(train=['projector']))
    config.model.template = 'plain'
    rows = [dict(image=row['image'], caption='a cat') for row in TRAIN['batch']]
    (tmp_path / 'rows.json').write_text(json.dumps(rows))
    assert train(config, tmp_path) == 0
    assert len((tmp_path / 'prompts/answers.jsonl').read_text().splitlines()) == 3
    assert read == [PICTURE]


@pytest.mark.parametrize(
    ('prompts', 'settings', 'message'),
    [
        ([dict(image='gone.png')], {}, 'gone.png'),
        ([dict(picture=PICTURE)], {}, "unknown key of a prompt 'picture'"),
        ([dict(question='')], {}, 'a prompt without image and question'),
        ([], {}, 'has 0 prompts'),
    ],
)
def test_what_cannot_be_asked_ends_the_run_before_its_first_step(
    tmp_path, capsys, prompts, settings, message
):
    assert train(asking(tmp_path, prompts, **settings), tmp_path) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob('iter_*'))
