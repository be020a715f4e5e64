"""Floor 1. Questions and LLaVA's instruction JSON, as turns."""

from collections.abc import Mapping, Sequence

from mmllava.errors import PromptError
from mmllava.structures import IMAGE_TAG, Turn

IMAGE_WORDS = ('<im_start>', '<im_end>')  # around a picture, where a checkpoint has them
_ROLES = {'human': 'user', 'gpt': 'assistant'}


def ask(question: str, num_images: int, start_end: bool = False) -> list[Turn]:
    """One question with the answer left open; pictures come first, a line each.

    Args:
        question: text. If it has ``<image>`` tags of its own, they stay where
            they are and none is added.
        num_images: how many pictures there are.
        start_end: write ``<im_start><image><im_end>`` (v0 and v1-1 checkpoints).
    """
    text = question if IMAGE_TAG in question else f'{IMAGE_TAG}\n' * num_images + question
    if start_end:
        text = text.replace(IMAGE_TAG, IMAGE_TAG.join(IMAGE_WORDS))
    return [Turn('user', text), Turn('assistant', None)]


def from_json(
    conversations: Sequence[Mapping[str, str]], template: str, start_end: bool = False
) -> list[Turn]:
    """Turns of a sample in LLaVA's instruction JSON, prepared as training prepares them.

    The picture's tag moves to the front of its turn, with a line of its own;
    several tags in one turn become one. A conversation that the assistant
    opens loses that turn. Source: ``preprocess_multimodal`` of LLaVA 1.2.2.

    Args:
        conversations: ``[{'from': 'human' | 'gpt', 'value': text}, ...]``.
        template: name of the template; ``plain`` replaces the question by the
            picture, the ``mmtag`` ones put ``<Image>`` around it.
        start_end: write ``<im_start><image><im_end>``.

    Raises:
        PromptError: a speaker other than human and gpt.
    """
    turns = []
    for number, message in enumerate(conversations):
        speaker, text = message.get('from'), message.get('value')
        if speaker not in _ROLES or not isinstance(text, str):
            raise PromptError(
                f"message {number} is {message!r}, expected {{'from': 'human' or 'gpt', "
                "'value': text}}."
            )
        if IMAGE_TAG in text:
            text = _place_image(text, template, start_end)
        turns.append(Turn(_ROLES[speaker], text))
    return turns[1:] if turns and turns[0].role == 'assistant' else turns


def _place_image(text: str, template: str, start_end: bool) -> str:
    if template.endswith('plain'):
        return IMAGE_TAG
    rest = text.replace(IMAGE_TAG, '').strip()
    tag = f'<Image>{IMAGE_TAG}</Image>' if template.endswith('mmtag') else IMAGE_TAG
    placed = f'{tag}\n{rest}'.strip()
    return placed.replace(IMAGE_TAG, IMAGE_TAG.join(IMAGE_WORDS)) if start_end else placed
