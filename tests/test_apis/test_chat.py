"""A session's answer is that of the whole dialogue sent at once."""

import json

import pytest
import torch

from mmllava import get_model
from mmllava.apis.chat import ChatSession
from mmllava.errors import ConfigError, ImageError, PromptError
from mmllava.prompts.encode import encode
from mmllava.prompts.render import render
from mmllava.structures import Turn
from tests.conftest import MODELS, tiny_config

PICTURES = [MODELS / f'images/{k}.png' for k in range(3)]


@pytest.fixture(scope='module', params=['v1', 'v1.5'])
def model(request, checkpoints):
    config = tiny_config(request.param, generation_cfg=dict(max_new_tokens=10))
    return get_model(config, pretrained=str(checkpoints[request.param]), device='cpu')


def at_once(model, turns, pictures, **settings):
    """The obvious way: the whole dialogue as one prompt, by transformers' own loop."""
    chat = ChatSession(model)
    features = [f for p in pictures for f in chat._encode(p)]
    prompt = encode(
        render(model.prompt_builder.template, [*turns, Turn('assistant', None)]),
        model.tokenizer,
        len(pictures),
    )
    from mmllava.models.splice import splice

    embeds, _ = splice(model.language, prompt, features)
    mask = torch.ones(1, len(embeds), dtype=torch.long)
    settings = {**model.generation_cfg, **settings}
    ids = model.language.generate_by_transformers(embeds[None], mask, model.tokenizer, settings)[0]
    return model.prompt_builder.decode_answer(ids)


def test_each_answer_is_that_of_the_whole_dialogue(model):
    chat = ChatSession(model)
    asked = [
        ('What is it?', [PICTURES[0]]),
        ('And what color?', []),
        (
            'Compare it with <image> this.'
            if not model.prompt_builder.use_im_start_end
            else 'Compare.',
            [PICTURES[1]],
        ),
        ('Why?', []),
    ]
    pictures = []
    for question, new in asked:
        pictures += new
        before = list(chat.turns)
        answer = chat.ask(question, new)
        assert answer == at_once(model, [*before, chat.turns[-2]], pictures)
    assert len(chat.turns) == 8 and len(chat.images) == 2


def test_the_tower_runs_once_for_each_picture_and_earlier_turns_are_not_fed_again(
    model, monkeypatch
):
    runs, fed = [], []
    tower, extend = model.vision_tower.forward, model.language.extend
    monkeypatch.setattr(model.vision_tower, 'forward', lambda x: runs.append(len(x)) or tower(x))
    monkeypatch.setattr(
        model.language, 'extend', lambda e, *a: fed.append(e.shape[1]) or extend(e, *a)
    )
    chat = ChatSession(model)
    chat.ask('What is it?', PICTURES[0])
    first = fed[0]
    fed.clear()
    chat.ask('Why?')
    assert runs == [1]
    assert fed[0] < first / 2  # the question, and what of the answer was written anew


def test_a_dialogue_without_pictures_works(model):
    chat = ChatSession(model)
    answer = chat.ask('Hello, who are you?')
    assert answer == at_once(model, [Turn('user', 'Hello, who are you?')], [])


def test_pieces_joined_are_the_answer_and_come_one_by_one(model):
    whole = ChatSession(model).ask('What is it?', PICTURES[0])
    pieces = list(ChatSession(model).stream('What is it?', PICTURES[0]))
    assert ''.join(pieces) == whole and len(pieces) > 2


def test_an_answer_can_be_cancelled_and_the_dialogue_goes_on(model):
    chat = ChatSession(model)
    pieces = []
    for piece in chat.stream('What is it?', PICTURES[0]):
        pieces.append(piece)
        if len(pieces) == 3:
            chat.cancel()
    assert chat.turns[-1].text == ''.join(pieces)
    assert ''.join(pieces) != ChatSession(model).ask('What is it?', PICTURES[0])
    before = list(chat.turns)
    assert chat.ask('Why?') == at_once(model, [*before, Turn('user', 'Why?')], [PICTURES[0]])


def test_a_listener_that_leaves_early_leaves_a_sound_dialogue(model):
    chat = ChatSession(model)
    stream = chat.stream('What is it?', PICTURES[0])
    next(stream), next(stream)
    stream.close()
    before = list(chat.turns)
    assert chat.ask('Why?') == at_once(model, [*before, Turn('user', 'Why?')], [PICTURES[0]])


def test_sampling_is_repeated_by_its_seed_and_differs_without(model):
    def answer(seed):
        return ChatSession(model, seed=seed, temperature=1.5).ask('What is it?', PICTURES[0])

    assert answer(1) == answer(1)
    assert len({answer(seed) for seed in range(4)}) > 1


def test_temperature_zero_is_greedy(model):
    greedy = ChatSession(model).ask('What is it?', PICTURES[0])
    assert ChatSession(model, temperature=0).ask('What is it?', PICTURES[0]) == greedy


@pytest.mark.parametrize('settings', [dict(repetition_penalty=1.5), dict(max_new_tokens=4)])
def test_settings_do_what_transformers_loop_does(model, settings):
    answer = ChatSession(model).ask('What is it?', PICTURES[0], **settings)
    turn = ChatSession(model)
    turn.ask('What is it?', PICTURES[0])
    assert answer == at_once(model, turn.turns[:1], [PICTURES[0]], **settings)


def test_reset_forgets_everything(model):
    chat = ChatSession(model)
    first = chat.ask('What is it?', PICTURES[0])
    chat.ask('Why?')
    chat.reset()
    assert chat.turns == [] and chat.images == []
    assert chat.ask('What is it?', PICTURES[0]) == first


def test_a_saved_dialogue_is_instruction_json(model, tmp_path):
    chat = ChatSession(model)
    answer = chat.ask('What is it?', PICTURES[0])
    chat.save(tmp_path / 'talk.json')
    saved = json.loads((tmp_path / 'talk.json').read_text())
    assert saved['images'] == [str(PICTURES[0])]
    assert saved['conversations'][1] == {'from': 'gpt', 'value': answer}
    assert '<image>' in saved['conversations'][0]['value']


@pytest.mark.parametrize(
    ('call', 'error', 'message'),
    [
        (lambda c: c.ask('<image> what?'), PromptError, '2 <image> tags but 1 images'),
        (lambda c: c.ask('x', MODELS / 'gone.png'), ImageError, 'no image at'),
        (lambda c: c.ask('x', num_beams=3), ConfigError, 'num_beams=3: beams cannot be streamed'),
        (lambda c: c.ask('x', top_pp=1), ConfigError, "'top_pp'. Did you mean top_p"),
        (
            lambda c: c.ask('why ' * 3000),
            PromptError,
            'the context is 2048. Ask a shorter question',
        ),
    ],
)
def test_a_question_that_cannot_be_asked_says_why_and_changes_nothing(model, call, error, message):
    chat = ChatSession(model)
    chat.ask('What is it?', PICTURES[0])
    before = list(chat.turns)
    with pytest.raises(error, match=message):
        call(chat)
    assert chat.turns == before
    assert chat.ask('Why?') == at_once(model, [*before, Turn('user', 'Why?')], [PICTURES[0]])


def test_an_answer_after_one_that_broke_off_inside_a_layer_is_right(model, monkeypatch):
    chat = ChatSession(model)
    chat.ask('What is it?', PICTURES[0])
    before = list(chat.turns)
    block = model.language.lm.model.layers[1]
    with monkeypatch.context() as patch:
        patch.setattr(block, 'forward', lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            chat.ask('And what color?')
    assert chat.turns == before
    expected = at_once(model, [*before, Turn('user', 'And what color?')], [PICTURES[0]])
    assert chat.ask('And what color?') == expected


def test_a_setting_that_streaming_does_not_follow_is_refused(model):
    with pytest.raises(ConfigError, match=r'suppress_tokens=\[3\]: a streamed answer follows'):
        ChatSession(model).ask('What is it?', PICTURES[0], suppress_tokens=[3])


def test_a_tag_in_an_answer_is_no_picture(model, monkeypatch):
    chat = ChatSession(model)
    monkeypatch.setattr(chat, '_answer', lambda *a: iter(['see <image>', ' here']))
    chat.ask('What is it?', PICTURES[0])
    monkeypatch.undo()
    assert chat.turns[-1].text == 'see  here'
    assert isinstance(chat.ask('Why?'), str)
