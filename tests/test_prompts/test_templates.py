"""Every prompt is the original's, letter by letter."""

import pytest

from mmllava.errors import ConfigError, PromptError
from mmllava.prompts.render import render
from mmllava.prompts.templates import TEMPLATES, get_template
from mmllava.structures import Turn


def turns_of(dialog):
    return [t for q, a in dialog for t in (Turn('user', q), Turn('assistant', a))]


def text(name, turns):
    return ''.join(segment.text for segment in render(get_template(name), turns))


# No recording: the code that held them is older than the recorded one.
LEGACY = {
    'simple': 'You are LLaVA, a large language model trained by UW Madison WAIV Lab, based '
    'on LLaMA architecture.You are designed to assist human with a variety of '
    'tasks using natural language.Follow the instructions carefully.###Human: '
    'Hi!###Assistant: Hi there!  How can I help you today?\n###Human: '
    'Who?###Assistant: Me.###Human: Why?###Assistant:',
    'simple_may': 'A chat between a curious human and an artificial intelligence assistant. The '
    "assistant gives helpful, detailed, and polite answers to the human's "
    'questions.###Human: Hi!###Assistant: Hi there! How can I help you '
    'today?###Human: Who?###Assistant: Me.###Human: Why?###Assistant:',
    'multimodal': 'You are LLaVA, a large language and vision assistant trained by UW Madison '
    'WAIV Lab.You are able to understand the visual content that the user '
    'provides, and assist the user with a variety of tasks using natural '
    'language.Follow the instructions carefully and explain your answers in '
    'detail.###Human: Hi!###Assistant: Hi there!  How can I help you today?\n'
    '###Human: Who?###Assistant: Me.###Human: Why?###Assistant:',
    'multimodal_v1': 'You are LLaVA, a large language and vision assistant trained by UW Madison '
    'WAIV Lab.You are able to understand the visual content that the user '
    'provides, and assist the user with a variety of tasks using natural '
    'language.Follow the instructions carefully and explain your answers in '
    'detail. USER: Who? ASSISTANT: Me.</s>USER: Why? ASSISTANT:',
    'vicuna_v1_1': 'A chat between a curious user and an artificial intelligence assistant. The '
    "assistant gives helpful, detailed, and polite answers to the user's "
    'questions. USER: Who? ASSISTANT: Me.</s>USER: Why? ASSISTANT:',
    'bair_v1': 'BEGINNING OF CONVERSATION: USER: Who? GPT: Me.</s>USER: Why? GPT:',
    'mpt_lightning': '<|im_start|>system\n- You are a helpful language and vision '
    'assistant.\n- You '
    'are able to understand the visual content that the user provides, and assist '
    'the user with a variety of tasks using natural language.\n- You should follow '
    'the instructions carefully and explain your answers in '
    'detail.<|im_end|><|im_start|>user\nWho?<|im_end|><|im_start|>assistant\n'
    'Me.<|im_end|><|im_start|>user\nWhy?<|im_end|><|im_start|>assistant\n',
    'mpt_multimodal': '<|im_start|>system\n- You are LLaVA, a large language and vision assistant '
    'trained by UW Madison WAIV Lab.\n- You are able to understand the visual '
    'content that the user provides, and assist the user with a variety of tasks '
    'using natural language.\n- You should follow the instructions carefully and '
    'explain your answers in detail.<|im_end|><|im_start|>user\n'
    'Who?<|im_end|><|im_start|>assistant\nMe.<|im_end|><|im_start|>user\n'
    'Why?<|im_end|><|im_start|>assistant\n',
    'mpt_text': '<|im_start|>system\n- You are a helpful assistant chatbot trained by '
    'MosaicML.\n- You answer questions.\n- You are excited to be able to help the '
    'user, but will refuse to do anything that could be considered harmful to the '
    'user.\n- You are more than just an information source, you are also able to '
    'write poetry, short stories, and make jokes.<|im_end|><|im_start|>user\n'
    'Who?<|im_end|><|im_start|>assistant\nMe.<|im_end|><|im_start|>user\n'
    'Why?<|im_end|><|im_start|>assistant\n',
}


def test_every_template_is_recorded_or_written_out_here(golden):
    assert set(TEMPLATES) == {*golden['conversations'], *LEGACY}


def test_every_template_says_which_checkpoints_it_belongs_to():
    assert all(len(template.used_by) > 10 for template in TEMPLATES.values())


@pytest.mark.parametrize('name', LEGACY)
def test_legacy_prompts_are_those_of_the_code_of_their_time(name):
    assert text(name, turns_of([('Who?', 'Me.'), ('Why?', None)])) == LEGACY[name]


@pytest.mark.parametrize('name', sorted(set(TEMPLATES) - set(LEGACY)))
def test_prompts_are_the_recorded_ones(golden, name):
    recorded = golden['conversations'][name]['prompts']
    compared = 0
    for dialog, expected in zip(golden['dialogs'], recorded, strict=True):
        if not expected.startswith('ERROR'):  # what the original cannot render
            assert text(name, turns_of(dialog)) == expected
            compared += 1
    assert compared >= (1 if name.endswith('plain') else len(recorded))


def test_only_answers_and_their_end_are_learned():
    turns = turns_of([('Who?', 'Me.'), ('Why?', 'Well.')])
    learned = [s.text for s in render(get_template('vicuna_v1'), turns) if s.learn]
    assert learned == [' Me.</s>', ' Well.</s>']


def test_an_unknown_template_is_answered_with_the_close_ones():
    with pytest.raises(ConfigError, match=r"unknown template 'vicunna_v1'. Did you mean vicuna_v1"):
        get_template('vicunna_v1')


@pytest.mark.parametrize(
    ('turns', 'message'),
    [
        ([], 'needs at least one turn, got none'),
        ([Turn('assistant', 'Hi')], "turn 0 is by 'assistant', expected 'user'"),
        ([Turn('user', 'a'), Turn('user', 'b')], "turn 1 is by 'user', expected 'assistant'"),
        (turns_of([('a', None), ('b', None)]), 'turn 1 has no text; only the last answer'),
    ],
)
def test_a_conversation_that_cannot_be_written_says_why(turns, message):
    with pytest.raises(PromptError, match=message):
        render(get_template('vicuna_v1'), turns)


def test_plain_refuses_a_conversation():
    with pytest.raises(PromptError, match='one image and its caption, got 4 turns'):
        text('plain', turns_of([('a', 'b'), ('c', 'd')]))


@pytest.mark.parametrize('name', ['v0', 'default', 'llava_v0'])
def test_the_templates_of_v0_have_no_example_dialogue(name):
    """As when its weights were trained; the original's later code opens with one."""
    assert '###' not in get_template(name).system
