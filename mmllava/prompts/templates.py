"""Floor 1. Every chat template of LLaVA's code, as data, and what renders them.

Source: the ``conv_templates`` of LLaVA 1.2.2; the recordings in
``tests/golden`` hold what it renders.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mmllava.errors import PromptError, unknown_name
from mmllava.structures import Segment, Turn

_CHAT = (
    'A chat between a curious {0} and an artificial intelligence assistant. '
    "The assistant gives helpful, detailed, and polite answers to the {0}'s questions."
)
SYSTEM_HUMAN = _CHAT.format('human')
SYSTEM_USER = _CHAT.format('user')
# No space before "The visual": that is how the models were trained.
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
SYSTEM_CHATML = '<|im_start|>system\nAnswer the questions.'


@dataclass(frozen=True)
class Template:
    """How a conversation is written for one family of checkpoints.

    ``style`` names the renderer: ``single`` ends every turn with ``sep``;
    ``two`` ends questions with ``sep`` and answers with ``sep2``; ``chatml``
    has the header in the role; ``llama_2`` wraps questions in ``[INST]``;
    ``plain`` is a picture and its caption.
    """

    style: str
    system: str
    roles: tuple[str, str]
    sep: str
    sep2: str = ''

    @property
    def stop(self) -> str | None:
        """Text that ends an answer where the tokenizer's end-of-text does not."""
        return self.sep if self.style in ('single', 'chatml') else None


_HUMAN, _USER = ('Human', 'Assistant'), ('USER', 'ASSISTANT')
_CHATML_ROLES = ('<|im_start|>user\n', '<|im_start|>assistant\n')
_LLAVA_V0 = Template('single', SYSTEM_HUMAN, _HUMAN, '###')
_VICUNA_V1 = Template('two', SYSTEM_USER, _USER, ' ', '</s>')
_CHATML_DIRECT = Template('chatml', SYSTEM_CHATML, _CHATML_ROLES, '<|im_end|>')
_PLAIN = Template('plain', '', ('', ''), '\n')

TEMPLATES: dict[str, Template] = {
    'default': _LLAVA_V0,
    'v0': _LLAVA_V0,
    'llava_v0': _LLAVA_V0,  # 7B and 13B delta-v0
    'v0_mmtag': Template('single', SYSTEM_MMTAG, _HUMAN, '###'),
    'v1': _VICUNA_V1,
    'vicuna_v1': _VICUNA_V1,  # training and benchmarks of v1-1, v1.3, v1.5, v1.6-vicuna
    # The command line and the web demo ask the same models with "human", not "user".
    'llava_v1': Template('two', SYSTEM_HUMAN, _USER, ' ', '</s>'),
    'v1_mmtag': Template('two', SYSTEM_MMTAG, _USER, ' ', '</s>'),
    'plain': _PLAIN,  # projector pre-training
    'v0_plain': _PLAIN,
    'llava_llama_2': Template('llama_2', SYSTEM_LLAVA_LLAMA_2, _USER, '<s>', '</s>'),
    'llama_2': Template('llama_2', SYSTEM_LLAMA_2, _USER, '<s>', '</s>'),
    'mistral_instruct': Template('llama_2', '', _USER, '', '</s>'),  # v1.6-mistral
    'chatml_direct': _CHATML_DIRECT,  # v1.6-34b
    'mistral_direct': _CHATML_DIRECT,
    'mpt': Template('chatml', SYSTEM_MPT, _CHATML_ROLES, '<|im_end|>'),
}


def get_template(name: str) -> Template:
    """The template of that name.

    Raises:
        ConfigError: no template has that name; close ones are listed.
    """
    if name not in TEMPLATES:
        raise unknown_name('template', name, TEMPLATES)
    return TEMPLATES[name]


def render(template: Template, turns: Sequence[Turn]) -> list[Segment]:
    """Writes a conversation as text; joined, the segments are the exact prompt.

    Answers are learned together with the mark that ends them. A last answer of
    None leaves the prompt open for the model to go on.

    Raises:
        PromptError: no turns, roles that do not alternate, an open turn that is
            not the last, or a shape that the style cannot write.
    """
    if not turns:
        raise PromptError('a conversation needs at least one turn, got none.')
    for number, turn in enumerate(turns):
        role = ('user', 'assistant')[number % 2]
        if turn.role != role:
            raise PromptError(
                f"turn {number} is by '{turn.role}', expected '{role}': user and assistant "
                'alternate and the user comes first.'
            )
        if not turn.text and number < len(turns) - 1:
            raise PromptError(f'turn {number} has no text; only the last answer may be open.')
    return _RENDERERS[template.style](template, turns)


def _render_separated(template: Template, turns: Sequence[Turn]) -> list[Segment]:
    """Styles ``single`` and ``two``."""
    ends = (template.sep, template.sep2 or template.sep)
    segments = [Segment(template.system + template.sep)]
    for number, turn in enumerate(turns):
        segments.append(Segment(template.roles[number % 2] + ':'))
        if turn.text:
            # The space belongs to the answer: sentencepiece glues it to the first word.
            segments.append(Segment(f' {turn.text}{ends[number % 2]}', learn=number % 2 == 1))
    return segments


def _render_chatml(template: Template, turns: Sequence[Turn]) -> list[Segment]:
    segments = [Segment(template.system + template.sep)]
    for number, turn in enumerate(turns):
        segments.append(Segment(template.roles[number % 2]))
        if turn.text:
            segments.append(Segment(turn.text + template.sep, learn=number % 2 == 1))
    return segments


def _render_llama_2(template: Template, turns: Sequence[Turn]) -> list[Segment]:
    """The first ``<s>`` is the tokenizer's own, so it is not in the text."""
    segments = []
    for number, turn in enumerate(turns):
        if not turn.text:
            continue
        if number % 2:
            segments.append(Segment(f' {turn.text} {template.sep2}', learn=True))
            continue
        system = f'<<SYS>>\n{template.system}\n<</SYS>>\n\n' if template.system else ''
        start, text = (template.sep, turn.text) if number else ('', system + turn.text)
        segments.append(Segment(f'{start}[INST] {text} [/INST]'))
    return segments


def _render_plain(template: Template, turns: Sequence[Turn]) -> list[Segment]:
    """A picture and its caption, with nothing said of who speaks."""
    if len(turns) > 2:
        raise PromptError(
            f'template plain writes one picture and its caption, got {len(turns)} turns. '
            'Use another template for a conversation.'
        )
    if len(turns) == 1 or not turns[1].text:
        return [Segment(turns[0].text + template.sep)]
    return [Segment(turns[0].text), Segment(turns[1].text + template.sep, learn=True)]


_RENDERERS: dict[str, Callable[[Template, Sequence[Turn]], list[Segment]]] = {
    'single': _render_separated,
    'two': _render_separated,
    'chatml': _render_chatml,
    'llama_2': _render_llama_2,
    'plain': _render_plain,
}
