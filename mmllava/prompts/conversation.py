"""Questions and LLaVA's instruction JSON, as turns."""

import re
from collections.abc import Mapping, Sequence

from mmllava.errors import PromptError
from mmllava.structures import IMAGE_TAG, IMAGE_TOKENS, Turn

_PATCH = '<im_patch>'
_ROLES = {'human': 'user', 'gpt': 'assistant'}


def ask(question: str, num_images: int, start_end: bool = False, mmtag: bool = False) -> list[Turn]:
    """One question with the answer left open; images come first, a line each.

    Args:
        question: text. If it has ``<image>`` tags of its own, they stay where
            they are and none is added.
        num_images: how many images there are.
        start_end: write ``<im_start><image><im_end>`` (v0 and v1-1 checkpoints); a
            tag that stands between the two already is left as it is.
        mmtag: show the images in a turn of their own, which is answered with
            ``Received.`` (`Template.mmtag`).
    """
    before: list[Turn] = []
    if IMAGE_TAG not in question and num_images:
        if mmtag:
            shown = f'<Image>{IMAGE_TAG}</Image>' * num_images
            before = [Turn('user', shown), Turn('assistant', 'Received.')]
        else:
            question = f'{IMAGE_TAG}\n' * num_images + question
    turns = [*before, Turn('user', question), Turn('assistant', None)]
    return [Turn(t.role, _enclose(t.text)) if t.text else t for t in turns] if start_end else turns


def from_patches(text: str, num_patches: int) -> str:
    """A prompt of v0, each image's ``<im_patch>`` run written as one ``<image>``.

    v0 wrote an image as 256 ``<im_patch>`` and put its features over them; the
    sentinel form puts them in one place, with the same result.

    Args:
        text: any text; one without such runs comes back as it is.
        num_patches: N, patches of an image.

    Raises:
        PromptError: a run of another length.
    """

    def sentinel(run: re.Match) -> str:
        count = len(run[0]) // len(_PATCH)
        if count == num_patches:
            return IMAGE_TAG
        raise PromptError(
            f'the text has {count} {_PATCH} in a row, and an image of this model is '
            f'{num_patches} of them. Write {IMAGE_TAG} in their place.'
        )

    least = min(num_patches, 2)  # alone, it is a word like others
    return re.sub(f'(?:{_PATCH}){{{least},}}', sentinel, text)


def _enclose(text: str) -> str:
    start, end = IMAGE_TOKENS
    return re.sub(
        f'(?<!{start}){IMAGE_TAG}|{IMAGE_TAG}(?!{end})', IMAGE_TAG.join(IMAGE_TOKENS), text
    )


def from_json(
    conversations: Sequence[Mapping[str, str]],
    template: str = '',
    start_end: bool = False,
    several: bool = False,
) -> list[Turn]:
    """Turns of a sample in LLaVA's instruction JSON, prepared as training prepares them.

    The image's tag moves to the front of its turn, with a line of its own;
    several tags in one turn become one. A conversation that the assistant
    opens loses that turn. Source: ``preprocess_multimodal`` of LLaVA 1.2.2, which
    knows one image a sample.

    Args:
        conversations: ``[{'from': 'human' | 'gpt', 'value': text}, ...]``.
        template: name of the template, if it is known; ``plain`` replaces the question by the
            image, the ``mmtag`` ones put ``<Image>`` around it.
        start_end: write ``<im_start><image><im_end>``.
        several: the sample has more images than one; their tags stay where they are.

    Raises:
        PromptError: a speaker other than human and gpt.
    """
    turns = []
    for number, message in enumerate(conversations):
        speaker, text = message.get('from'), message.get('value')
        if not isinstance(speaker, str) or speaker not in _ROLES or not isinstance(text, str):
            raise PromptError(
                f"message {number} is {message!r}, expected {{'from': 'human' or 'gpt', "
                "'value': text}}."
            )
        if IMAGE_TAG in text:
            text = text if several else _place_image(text, template)
            text = _enclose(text) if start_end and not template.endswith('plain') else text
        turns.append(Turn(_ROLES[speaker], text))
    return turns[1:] if turns and turns[0].role == 'assistant' else turns


def _place_image(text: str, template: str) -> str:
    if template.endswith('plain'):
        return IMAGE_TAG
    rest = text.replace(IMAGE_TAG, '').strip()
    tag = f'<Image>{IMAGE_TAG}</Image>' if template.endswith('mmtag') else IMAGE_TAG
    return f'{tag}\n{rest}'.strip()
