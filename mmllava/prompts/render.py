"""Writes a conversation in a chat template."""

from collections.abc import Callable, Sequence

from mmllava.errors import PromptError
from mmllava.prompts.templates import Template
from mmllava.structures import Segment, Turn


def render(template: Template, turns: Sequence[Turn]) -> list[Segment]:
    """Writes a conversation as segments; joined, they are the exact prompt.

    Answers are learned together with their end mark. If the last answer is None, the
    prompt ends where the model has to continue.

    Raises:
        PromptError: no turns, roles that do not alternate, an empty turn that is
            not the last, or a number of turns that the template does not support.
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
            # The space belongs to the answer: sentencepiece merges it with the first word.
            segments.append(Segment(f' {turn.text}{ends[number % 2]}', learn=number % 2 == 1))
    return segments


def _render_chatml(template: Template, turns: Sequence[Turn]) -> list[Segment]:
    """Style ``chatml``."""
    segments = [Segment(template.system + template.sep)]
    for number, turn in enumerate(turns):
        segments.append(Segment(template.roles[number % 2]))
        if turn.text:
            segments.append(Segment(turn.text + template.sep, learn=number % 2 == 1))
    return segments


def _render_llama_2(template: Template, turns: Sequence[Turn]) -> list[Segment]:
    """Style ``llama_2``; the tokenizer adds the first ``<s>``, so the text omits it."""
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
    """Style ``plain``: an image and its caption, without roles."""
    if len(turns) > 2:
        raise PromptError(
            f'template plain writes one image and its caption, got {len(turns)} turns. '
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
