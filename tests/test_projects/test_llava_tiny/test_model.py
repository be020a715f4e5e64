"""The model in the package says true things about scenes that its training never saw.

The whole figures are rows of tools/benchmark/results/tiny.jsonl; here a sample of each.
"""

import random
import shutil

import pytest
import torch
from PIL import Image

import mmllava
from mmllava.apis.inferencers import CaptionInferencer, VQAInferencer
from mmllava.apis.load import WEIGHTS
from mmllava.checkpoints.storage.reader import read_json
from projects.llava_tiny.build_dataset import scored_questions
from projects.llava_tiny.caption_check import is_right
from projects.llava_tiny.dialogue_eval import make_talk, run_dialogue
from projects.llava_tiny.draw import draw_scene
from projects.llava_tiny.scenes import make_scene
from tests.conftest import ROOT


@pytest.fixture(scope='module')
def captioner():
    return mmllava.get_model('llava-tiny_caption', pretrained=True, device='cpu')


@pytest.fixture(scope='module')
def answerer():
    return mmllava.get_model('llava-tiny_vqa', pretrained=True, device='cpu')


def caption(model, scenes):
    found = CaptionInferencer(model)([draw_scene(scene) for scene in scenes], batch_size=50)
    return [one['pred_caption'] for one in found]


def test_captions_of_new_scenes_are_right(captioner):
    scenes = [make_scene('val', number) for number in range(40)]
    right = [is_right(t, s) for t, s in zip(caption(captioner, scenes), scenes, strict=True)]
    assert sum(right) >= 37


@pytest.mark.slow
def test_answers_about_new_scenes_are_right_and_a_blind_model_guesses(answerer):
    scenes = [make_scene('val', number) for number in range(60)]
    asked = list(scored_questions(scenes, 60))
    texts, wanted = [q.text for _, q in asked], [q.short for _, q in asked]
    infer = VQAInferencer(answerer)

    def count(pictures):
        found = infer(pictures, texts, batch_size=60)
        return sum(one['pred_answer'] == w for one, w in zip(found, wanted, strict=True))

    assert count([draw_scene(scenes[image]) for image, _ in asked]) >= 57
    assert count([Image.new('RGB', (112, 112))] * 60) <= 28


@pytest.mark.slow
def test_in_a_talk_about_two_pictures_most_answers_are_those_of_the_picture_asked_about():
    model = mmllava.get_model('llava-tiny_chat', pretrained=True, device='cpu')
    scenes, rng = [make_scene('val', number) for number in range(200)], random.Random(0)
    talks = [make_talk(scenes, rng) for _ in range(10)]
    held = [
        pair for talk in talks for pair in run_dialogue(talk, lambda: mmllava.ChatSession(model))
    ]
    assert len(held) == 50
    assert sum(said == question.sentence for question, said in held) >= 46


def test_the_picture_of_the_demo_is_described_as_it_is(captioner):
    said = mmllava.inference_model(captioner, str(ROOT / 'demo/cat-dog.png'))['pred_caption']
    assert said.endswith('an orange cat and a yellow dog on a blanket.') or said.startswith(
        'An orange cat and a yellow dog'
    )


def test_load_says_what_it_is_and_a_folder_of_that_name_comes_first(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = mmllava.load('tiny', task='caption', device='cpu')
    assert model.prompt_builder.template_name == 'vicuna_v1' and model.projector.depth == 2
    assert sum(p.numel() for p in model.parameters()) == 2_389_856
    (tmp_path / 'tiny').mkdir()
    with pytest.raises(mmllava.errors.MMLlavaError):
        mmllava.load('tiny')


def test_it_is_small_whole_and_says_what_it_is():
    assert sum(file.stat().st_size for file in WEIGHTS.iterdir()) < 8_000_000
    packed = [f for folder in ('mmllava', 'configs', 'tools') for f in (ROOT / folder).rglob('*')]
    packed = [f for f in packed if f.is_file() and '__pycache__' not in f.parts]
    assert sum(file.stat().st_size for file in packed) < 10_000_000
    manifest = read_json(WEIGHTS / 'manifest.json')
    assert manifest['layout'] == 'original' and set(manifest['dtypes']) == {'float16'}
    card = (WEIGHTS / 'README.md').read_text()
    for word in (
        'photograph',
        'projects/llava_tiny/tools/make_data.py',
        'llava-tiny_tower',
        'commit',
    ):
        assert word in card


@pytest.mark.slow
def test_the_manifest_is_of_these_weights():
    from tools.model_converters import verify

    assert verify.main([str(WEIGHTS)]) == 0


@pytest.mark.slow
def test_to_transformers_names_and_back_its_captions_are_the_same(captioner, tmp_path):
    from tools import convert

    hf, back = tmp_path / 'hf', tmp_path / 'back'
    assert convert.main([str(WEIGHTS), '--to', 'hf', '--out', str(hf)]) == 0
    assert convert.main([str(hf), '--to', 'original', '--out', str(back)]) == 0
    scenes = [make_scene('val', number) for number in range(50)]
    again = mmllava.load(back, task='caption', device='cpu')
    assert caption(again, scenes) == caption(captioner, scenes)


@pytest.mark.slow
def test_in_transformers_own_llava_it_says_the_same(captioner, tmp_path):
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    from tools import convert

    assert convert.main([str(WEIGHTS), '--to', 'hf', '--out', str(tmp_path / 'hf')]) == 0
    theirs = LlavaForConditionalGeneration.from_pretrained(tmp_path / 'hf', dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(tmp_path / 'hf')
    scenes = [make_scene('val', number) for number in range(8)]
    ours = caption(captioner, scenes)
    asked = 'Provide a one-sentence caption for the provided image.'
    turns = [dict(role='user', content=[dict(type='image'), dict(type='text', text=asked)])]
    prompt = processor.apply_chat_template(turns, add_generation_prompt=True)
    for scene, wanted in zip(scenes, ours, strict=True):
        inputs = processor(images=draw_scene(scene), text=prompt, return_tensors='pt')
        with torch.no_grad():
            ids = theirs.generate(**inputs, max_new_tokens=64, do_sample=False)
        new = processor.decode(ids[0, inputs['input_ids'].shape[1] :], skip_special_tokens=True)
        assert new.strip() == wanted


def copy_without(name, folder):
    shutil.copytree(WEIGHTS, folder)
    (folder / name).unlink()
    return folder


def test_a_package_without_its_weights_says_so(tmp_path):
    broken = copy_without('model-00001-of-00001.safetensors', tmp_path / 'weights')
    with pytest.raises(mmllava.errors.CheckpointError):
        mmllava.load(broken)
