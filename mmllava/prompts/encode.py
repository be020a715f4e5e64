"""A conversation to token ids, labels and image slots.

The text between two images is tokenised once, whole, as the authors do, and
labels are read from the characters that each token spells. Splitting the text
again and counting tokens, the original's way, drifts when a tokenizer merges a
space with the next word, and then silently learns nothing.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from mmllava.errors import PromptError
from mmllava.structures import (
    IGNORE_INDEX,
    IMAGE_TAG,
    IMAGE_TOKEN_INDEX,
    EncodedPrompt,
    Segment,
)


def encode(segments: Sequence[Segment], tokenizer: Any, num_images: int) -> EncodedPrompt:
    """Encodes a rendered conversation.

    A token is learned if any of its characters lies in a learned segment. One that
    spells nothing, the space that sentencepiece puts in front, goes with what follows.

    Args:
        segments: the prompt in order; joined, they are the exact prompt text.
        tokenizer: one of `mmllava.prompts.tokenizer`.
        num_images: images the caller holds; as many as ``<image>`` tags.

    Returns:
        Ids and labels of equal length L. An image is one IMAGE_TOKEN_INDEX.

    Raises:
        PromptError: tags and images differ in number, an answer holds a tag, or the
            text has half a letter.
    """
    text = _join(segments)
    _check_letters(text)
    check_images(text, num_images)
    _check_answers(segments)
    ids, labels = [], []
    for number, (text, spans) in enumerate(_chunks(segments)):
        if number > 0:
            ids.append(IMAGE_TOKEN_INDEX)
            labels.append(IGNORE_INDEX)
        elif tokenizer.encode('')[:1]:
            ids.append(tokenizer.bos_id)
            labels.append(IGNORE_INDEX)
        for token in tokenizer.encode_spans(text):
            end = max(token.end, token.start + 1)
            learned = any(token.start < last and end > first for first, last in spans)
            ids.append(token.id)
            labels.append(token.id if learned else IGNORE_INDEX)
    return EncodedPrompt(ids, labels)


def encode_text(text: str, tokenizer: Any, num_images: int) -> list[int]:
    """The ids of a prompt that is text already, with IMAGE_TOKEN_INDEX for ``<image>``.

    Raises:
        PromptError: tags and images differ in number.
    """
    return encode([Segment(text)], tokenizer, num_images).input_ids


def check_images(text: str, num_images: int) -> None:
    """Compares the tags in a text with the images that come with it.

    Raises:
        PromptError: they differ; the message gives both numbers.
    """
    tags = text.count(IMAGE_TAG)
    if tags != num_images:
        raise PromptError(
            f'the prompt has {tags} {IMAGE_TAG} tags but {num_images} images were given. '
            f'Write one {IMAGE_TAG} where each image belongs.'
        )


def _chunks(segments: Sequence[Segment]) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    """Yields (text, learned character ranges) for each stretch between images.

    The whole text is cut, not each segment: a tag may begin in one and end in the next.
    """
    whole, spans = '', []
    for segment in segments:
        if segment.learn:
            spans.append((len(whole), len(whole) + len(segment.text)))
        whole += segment.text
    start = 0
    for text in whole.split(IMAGE_TAG):
        yield text, [(first - start, last - start) for first, last in spans]
        start += len(text) + len(IMAGE_TAG)


def _check_answers(segments: Sequence[Segment]) -> None:
    """Refuses a tag of which any letter lies in an answer."""
    at = {k for m in re.finditer(IMAGE_TAG, _join(segments)) for k in range(*m.span())}
    start = 0
    for segment in segments:
        if segment.learn and not at.isdisjoint(range(start, start + len(segment.text))):
            raise PromptError(
                f'an answer cannot hold {IMAGE_TAG}, got {segment.text[:60]!r}. '
                'Images belong to the question.'
            )
        start += len(segment.text)


def _check_letters(text: str) -> None:
    """Refuses half of a surrogate pair: no tokenizer reads it, and JSON can hold one."""
    half = re.search('[\ud800-\udfff]', text)
    if half:
        raise PromptError(
            f'the text has {half[0]!r} at character {half.start()}, which is half a letter; '
            'expected whole ones. Take it out, or write the letter whole.'
        )


def _join(segments: Sequence[Segment]) -> str:
    return ''.join(segment.text for segment in segments)
