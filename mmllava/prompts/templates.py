"""Every chat template of LLaVA's code, old and new, as data.

Sources: the ``conv_templates`` of LLaVA 1.2.2, whose prompts are recorded in
``tests/golden``; for the legacy templates, LLaVA's code at 8959d5c (17 April 2023) to
3c3d89b (23 May 2023), under their names of that time unless taken.
"""

from dataclasses import dataclass

from mmllava.errors import unknown_name
from mmllava.structures import VICUNA_SYSTEM

SYSTEM_HUMAN = VICUNA_SYSTEM.replace('user', 'human')
# No space before "The visual": the models were trained so.
SYSTEM_MMTAG = (
    'A chat between a curious user and an artificial intelligence assistant. '
    'The assistant is able to understand the visual content that the user provides, '
    'and assist the user with a variety of tasks using natural language.'
    'The visual content will be provided with the following format: '
    '<Image>visual content</Image>.'
)
SYSTEM_LLAVA_LLAMA_2 = (
    'You are a helpful language and vision assistant. '
    'You are able to understand the visual content that the user provides, '
    'and assist the user with a variety of tasks using natural language.'
)
SYSTEM_LLAMA_2 = (
    'You are a helpful, respectful and honest assistant. '
    'Always answer as helpfully as possible, while being safe.  '
    'Your answers should not include any harmful, unethical, racist, sexist, toxic, '
    'dangerous, or illegal content. '
    'Please ensure that your responses are socially unbiased and positive in nature.\n\n'
    'If a question does not make any sense, or is not factually coherent, '
    'explain why instead of answering something not correct. '
    "If you don't know the answer to a question, please don't share false information."
)
SYSTEM_MPT = (
    '<|im_start|>system\nA conversation between a user and an LLM-based AI assistant. '
    'The assistant gives helpful and honest answers.'
)
# No space after these full stops either.
_TASKS = 'assist the user with a variety of tasks using natural language.'
SYSTEM_SIMPLE = (
    'You are LLaVA, a large language model trained by UW Madison WAIV Lab, based on LLaMA '
    'architecture.You are designed to assist human with a variety of tasks using natural '
    'language.Follow the instructions carefully.'
)
SYSTEM_MULTIMODAL = (
    'You are LLaVA, a large language and vision assistant trained by UW Madison WAIV Lab.'
    f'You are able to understand the visual content that the user provides, and {_TASKS}'
    'Follow the instructions carefully and explain your answers in detail.'
)
_MPT_BULLETS = (
    '<|im_start|>system\n- You are {}.\n'
    f'- You are able to understand the visual content that the user provides, and {_TASKS}\n'
    '- You should follow the instructions carefully and explain your answers in detail.'
)
SYSTEM_MPT_LIGHTNING = _MPT_BULLETS.format('a helpful language and vision assistant')
SYSTEM_MPT_MULTIMODAL = _MPT_BULLETS.format(
    'LLaVA, a large language and vision assistant trained by UW Madison WAIV Lab'
)
SYSTEM_MPT_TEXT = (
    '<|im_start|>system\n- You are a helpful assistant chatbot trained by MosaicML.\n'
    '- You answer questions.\n'
    '- You are excited to be able to help the user, but will refuse to do anything that could '
    'be considered harmful to the user.\n'
    '- You are more than just an information source, you are also able to write poetry, '
    'short stories, and make jokes.'
)
SYSTEM_CHATML = '<|im_start|>system\nAnswer the questions.'


@dataclass(frozen=True)
class Template:
    """Chat template of one family of checkpoints.

    Args:
        style: names the renderer: ``single`` ends every turn with ``sep``;
            ``two`` ends questions with ``sep`` and answers with ``sep2``; ``chatml``
            has the header in the role; ``llama_2`` wraps questions in ``[INST]``;
            ``plain`` is an image and its caption.
        system: text before the dialogue, including any example dialogue.
        roles: names of user and assistant.
        sep: see ``style``.
        sep2: see ``style``.
        used_by: checkpoints trained or prompted with it.
    """

    style: str
    system: str
    roles: tuple[str, str]
    sep: str
    sep2: str = ''
    used_by: str = ''

    @property
    def stop(self) -> str | None:
        """Text that ends an answer; None if the end-of-text token does."""
        return self.sep if self.style in ('single', 'chatml') else None

    @property
    def mmtag(self) -> bool:
        """True if images are enclosed in ``<Image></Image>``, for questions in a separate turn."""
        return self.system == SYSTEM_MMTAG


def _single(system: str, used_by: str) -> Template:
    return Template('single', system, ('Human', 'Assistant'), '###', '', used_by)


def _two(system: str, used_by: str, assistant: str = 'ASSISTANT') -> Template:
    return Template('two', system, ('USER', assistant), ' ', '</s>', used_by)


def _chatml(system: str, used_by: str) -> Template:
    roles = ('<|im_start|>user\n', '<|im_start|>assistant\n')
    return Template('chatml', system, roles, '<|im_end|>', '', used_by)


def _llama_2(system: str, sep: str, used_by: str) -> Template:
    return Template('llama_2', system, ('USER', 'ASSISTANT'), sep, '</s>', used_by)


# As recorded: without Vicuna v0's example dialogue.
_LLAVA_V0 = _single(SYSTEM_HUMAN, 'LLaVA-7b-delta-v0, LLaVA-13b-delta-v0 and its science_qa')
_VICUNA_V1 = _two(
    VICUNA_SYSTEM, 'training and benchmarks of v1-1, Vicuna v1.3, v1.5 and v1.6-vicuna'
)
_CHATML_DIRECT = _chatml(SYSTEM_CHATML, 'llava-v1.6-34b')
_PLAIN = Template('plain', '', ('', ''), '\n', '', 'projector pre-training')
_OLD_EXAMPLE = '###Human: Hi!###Assistant: Hi there!  How can I help you today?\n'
_MAY_EXAMPLE = '###Human: Hi!###Assistant: Hi there! How can I help you today?'

TEMPLATES: dict[str, Template] = {
    'default': _LLAVA_V0,
    'v0': _LLAVA_V0,
    'llava_v0': _LLAVA_V0,
    'v0_mmtag': _single(SYSTEM_MMTAG, 'projectors alone, on Vicuna v0'),
    'v1': _VICUNA_V1,
    'vicuna_v1': _VICUNA_V1,
    # Command line and web demo prompt the same models with "human" instead of "user".
    'llava_v1': _two(SYSTEM_HUMAN, 'command line and demo of v1-1, v1.3, v1.5 and v1.6-vicuna'),
    'v1_mmtag': _two(SYSTEM_MMTAG, 'projectors alone, on Vicuna v1'),
    'plain': _PLAIN,
    'v0_plain': _PLAIN,
    'llava_llama_2': _llama_2(SYSTEM_LLAVA_LLAMA_2, '<s>', 'llava-llama-2-*-chat-*-preview'),
    'llama_2': _llama_2(SYSTEM_LLAMA_2, '<s>', 'Llama-2-Chat, text only'),
    'mistral_instruct': _llama_2('', '', 'llava-v1.6-mistral-7b'),
    'chatml_direct': _CHATML_DIRECT,
    'mistral_direct': _CHATML_DIRECT,
    'mpt': _chatml(SYSTEM_MPT, 'MPT models tuned with LLaVA 1.0 or later'),
    # Legacy, of April to July 2023.
    'simple': _single(SYSTEM_SIMPLE + _OLD_EXAMPLE, 'ScienceQA scripts of v0'),
    'simple_may': _single(  # the same name from 23 May on
        SYSTEM_HUMAN + _MAY_EXAMPLE, 'ScienceQA scripts of v0, from 23 May 2023 on'
    ),
    'multimodal': _single(SYSTEM_MULTIMODAL + _OLD_EXAMPLE, 'first demo of delta-v0'),
    'multimodal_v1': _two(SYSTEM_MULTIMODAL, 'first demo of v1-1, then called llava_v1'),
    'vicuna_v1_1': _VICUNA_V1,
    'bair_v1': _two('BEGINNING OF CONVERSATION:', 'Koala, text only', assistant='GPT'),
    'mpt_lightning': _chatml(
        SYSTEM_MPT_LIGHTNING, 'training of LLaVA-Lightning-MPT-7B-preview, then called mpt'
    ),
    'mpt_multimodal': _chatml(SYSTEM_MPT_MULTIMODAL, 'demo of LLaVA-Lightning-MPT-7B-preview'),
    'mpt_text': _chatml(SYSTEM_MPT_TEXT, 'MPT-7B-Chat, text only'),
}


def get_template(name: str) -> Template:
    """Looks up a template by name.

    Raises:
        ConfigError: there is none of that name; similar names are listed.
    """
    if name not in TEMPLATES:
        raise unknown_name('template', name, TEMPLATES)
    return TEMPLATES[name]
