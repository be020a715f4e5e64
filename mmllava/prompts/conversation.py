"""Converts questions and LLaVA's instruction JSON to turns."""

import re
from collections.abc import Mapping, Sequence

from mmllava.errors import PromptError
from mmllava.structures import IMAGE_TAG, IMAGE_TOKENS, Turn

_PATCH = '<im_patch>'
_ROLES = {'human': 'user', 'gpt': 'assistant'}


def ask(question: str, num_images: int, start_end: bool = False, mmtag: bool = False) -> list[Turn]:
    """Builds the turns of one question, its images first and its answer left open.

    Args:
        question: text. If it has ``<image>`` tags, they stay in place and none is added;
            otherwise each image gets a line in front.
        num_images: number of images.
        start_end: write ``<im_start><image><im_end>`` (v0 and v1-1 checkpoints); a
            tag that is already enclosed stays as it is.
        mmtag: put the images into a separate turn, answered with ``Received.``
            (`Template.mmtag`).
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
    """Replaces each image's run of ``<im_patch>`` in a v0 prompt by one ``<image>``.

    v0 wrote an image as 256 ``<im_patch>`` and replaced their embeddings by its features;
    inserting the features at one ``<image>`` gives the same embeddings.

    Args:
        text: any text; without such runs it is returned unchanged.
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

    least = min(num_patches, 2)  # a single one is ordinary text
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
    """Converts a sample of LLaVA's instruction JSON to turns, as for training.

    The image's tag moves to the front of its turn, on its own line;
    several tags in one turn become one. An opening turn of the assistant is
    dropped. Source: ``preprocess_multimodal`` of LLaVA 1.2.2, which supports one
    image per sample.

    Args:
        conversations: ``[{'from': 'human' | 'gpt', 'value': text}, ...]``.
        template: name of the template; ``plain`` replaces the question by the image, the
            ``mmtag`` templates enclose the image in ``<Image></Image>``. Empty is any other.
        start_end: write ``<im_start><image><im_end>``.
        several: the sample has more than one image; their tags stay in place.

    Raises:
        PromptError: a message that is not from human or gpt, or has no text.
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
