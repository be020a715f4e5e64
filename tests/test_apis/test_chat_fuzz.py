"""Whatever happens in a session, its next answer is that of the whole dialogue sent at once."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmllava import get_model
from mmllava.apis import chat as chat_module
from mmllava.apis.chat import ChatSession
from mmllava.errors import MMLlavaError, PromptError
from mmllava.models.splice import splice
from mmllava.prompts.encode import encode
from mmllava.prompts.render import render
from mmllava.prompts.templates import get_template
from mmllava.structures import IMAGE_TAG, Turn
from tests.conftest import MODELS, VERSIONS, tiny_config
from tests.helpers.strategies import texts

PICTURES = [str(MODELS / f'images/{k}.png') for k in range(6)]
#: one of each style that can chat, and how the session stops there
PATCHES = '<im_patch>' * 2  # is v0's form of an image, of another length than an image
NAMES = ['vicuna_v1', 'llava_v0', 'llava_llama_2', 'mistral_instruct', 'chatml_direct']
#: and one whose stop text the tiny models write every few tokens
TEMPLATES = [*map(get_template, NAMES), replace(get_template('llava_v0'), sep='e')]


@pytest.fixture(scope='module')
def models(checkpoints):
    """version -> model."""
    config = dict(generation_cfg=dict(max_new_tokens=8))
    return {
        version: get_model(tiny_config(version, **config), str(checkpoints[version]), device='cpu')
        for version in VERSIONS
    }


@pytest.fixture(scope='module')
def features(models):
    """(version, image) -> what the tower and projector make of it, computed alone."""
    return {
        (version, path): ChatSession(model)._encode(path)
        for version, model in models.items()
        for path in PICTURES
    }


def at_once(model, turns, features, settings):
    """The obvious way: the whole dialogue as one prompt, by transformers' own loop."""
    segments = render(model.prompt_builder.template, [*turns, Turn('assistant', None)])
    prompt = encode(segments, model.tokenizer, len(features))
    embeds, _ = splice(model.language, prompt, features)
    mask = torch.ones(1, len(embeds), dtype=torch.long)
    settings = {**model.generation_cfg, **settings}
    stop = model.prompt_builder.template.stop
    (ids,) = model.language.generate_by_transformers(
        embeds[None], mask, model.tokenizer, settings, stop
    )
    return model.prompt_builder.decode_answer(ids)


@st.composite
def steps(draw):
    """One thing that a user does: (action, question, images, settings, after how many pieces)."""
    action = draw(st.sampled_from(['ask', 'ask', 'ask', 'cancel', 'leave', 'refused', 'reset']))
    question = draw(texts().filter(lambda text: text.strip() and PATCHES not in text))
    pictures = draw(st.lists(st.sampled_from(PICTURES), max_size=2))
    if pictures and draw(st.booleans()):  # or in front, where the session puts them
        for _ in pictures:
            at = draw(st.integers(0, len(question)))
            longer = question[:at] + IMAGE_TAG + question[at:]
            question = longer if longer.count(IMAGE_TAG) > question.count(IMAGE_TAG) else question
        pictures = pictures[: question.count(IMAGE_TAG)]
    settings = draw(st.sampled_from([{}, {}, dict(repetition_penalty=1.3), dict(max_new_tokens=3)]))
    return action, question, pictures, settings, draw(st.integers(1, 4))


def take(chat, action, question, pictures, settings, count):
    """What a session gives until it is cut off: the pieces."""
    pieces = []
    stream = chat.stream(question, pictures, **settings)
    for piece in stream:
        pieces.append(piece)
        if len(pieces) == count and action == 'cancel':
            chat.cancel()
        if len(pieces) == count and action == 'leave':
            stream.close()
            break
    return ''.join(pieces)


def asked(question, pictures, start_end):
    """The turn that a question becomes, in the test's own words."""
    if IMAGE_TAG not in question:
        question = f'{IMAGE_TAG}\n' * len(pictures) + question
    if start_end:  # where it does not stand between the two already
        whole = '<im_start><image><im_end>'
        question = whole.join(part.replace(IMAGE_TAG, whole) for part in question.split(whole))
    return Turn('user', question)


@settings(max_examples=max(settings.default.max_examples // 8, 12))
@given(
    version=st.sampled_from(list(VERSIONS)),
    template=st.sampled_from(TEMPLATES),
    script=st.lists(steps(), min_size=1, max_size=5),
)
def test_a_session_equals_the_whole_dialogue(models, features, version, template, script):
    model = models[version]
    model.prompt_builder.template = template
    chat, turns, seen = ChatSession(model), [], []
    for action, question, pictures, changes, count in script:
        if action == 'reset':
            chat.reset()
            turns, seen = [], []
        if action == 'refused':
            with pytest.raises(MMLlavaError):
                chat.ask(question + IMAGE_TAG * 9, pictures)
            assert chat.turns == turns
        turn = asked(question, pictures, model.prompt_builder.use_im_start_end)
        new = [f for p in pictures for f in features[version, p]]
        expected = at_once(model, [*turns, turn], [*seen, *new], changes)
        answer = take(chat, action, question, pictures, changes, count)
        if action in ('cancel', 'leave'):
            assert expected.startswith(answer)
        else:
            assert answer == expected
        text = answer
        while IMAGE_TAG in text:
            text = text.replace(IMAGE_TAG, '')
        if text:
            turns, seen = [*turns, turn, Turn('assistant', text)], [*seen, *new]
        assert chat.turns == turns


@settings(max_examples=max(settings.default.max_examples // 20, 5))
@given(
    version=st.sampled_from(list(VERSIONS)),
    script=st.lists(steps(), min_size=2, max_size=4),
    seed=st.integers(0, 2**31),
    temperature=st.sampled_from([0.3, 1.0, 2.0]),
)
def test_a_sampled_answer_is_that_of_a_new_session_with_the_same_dialogue(
    models, features, version, script, seed, temperature
):
    model = models[version]
    model.prompt_builder.template = get_template('vicuna_v1')
    chat = ChatSession(model, seed=seed, temperature=temperature, top_p=0.9)
    for _, question, pictures, _, _ in script:
        fresh = ChatSession(model, seed=seed, temperature=temperature, top_p=0.9)
        fresh.turns, fresh._features = list(chat.turns), list(chat._features)
        assert chat.ask(question, pictures) == fresh.ask(question, pictures)


@pytest.mark.parametrize(
    'said', [['<im<image>age>'], ['<image>'], ['<imag', 'e>'], ['a <im<im<image>age>age> b']]
)
def test_a_tag_in_an_answer_however_it_comes_ends_no_dialogue(models, monkeypatch, said):
    """A model that writes the tag, or what becomes one when the tag is taken out."""
    model = models['v1.5']
    model.prompt_builder.template = get_template('vicuna_v1')
    chat = ChatSession(model)
    monkeypatch.setattr(chat, '_answer', lambda *a: iter(said))
    chat.ask('What is it?', PICTURES[0])
    monkeypatch.undo()
    assert all(IMAGE_TAG not in turn.text for turn in chat.turns[1::2])
    assert isinstance(chat.ask('Why?'), str)


def test_half_a_letter_in_a_question_leaves_the_dialogue_as_it_was(models):
    model = models['v1.5']
    model.prompt_builder.template = get_template('vicuna_v1')
    chat = ChatSession(model)
    with pytest.raises(PromptError, match='half of a surrogate pair'):
        chat.ask('\ud800', PICTURES[0])
    assert chat.turns == [] and isinstance(chat.ask('Why?'), str)


def test_a_picture_whose_question_got_no_answer_is_not_taken_for_the_next_one(models, monkeypatch):
    """The model ends at once, or is cancelled before a word: the next image has its number."""
    model = models['v1.5']
    model.prompt_builder.template = get_template('vicuna_v1')
    expected = ChatSession(model).ask('What is it?', PICTURES[1])
    chat, stream_ids = ChatSession(model), chat_module.stream_ids

    def silent(*args):
        next(stream_ids(*args))  # the prompt is in the cache, and nothing was said
        return iter(())

    with monkeypatch.context() as patch:
        patch.setattr(chat_module, 'stream_ids', silent)
        assert chat.ask('What is it?', PICTURES[0]) == '' and chat.turns == []
    assert chat.ask('What is it?', PICTURES[1]) == expected
