"""Converts a conversation to token ids, labels and image slots.

The text between two images is tokenized once, as a whole, as the authors do; labels follow
from the characters of each token. The original splits the text again and counts tokens, which
drifts if a tokenizer merges a space with the next word; the sample then silently trains
nothing.
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

    A token is learned if any of its characters lies in a learned segment. A token without
    characters, the space that sentencepiece prepends, belongs to the text after it.

    Args:
        segments: the prompt in order; joined, they are the exact prompt text.
        tokenizer: one of `mmllava.prompts.tokenizer`.
        num_images: number of the sample's images, which has to equal that of ``<image>`` tags.

    Returns:
        Ids and labels of equal length L. An image is one IMAGE_TOKEN_INDEX.

    Raises:
        PromptError: tags and images differ in number, an answer contains a tag, or the
            text has half of a surrogate pair.
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
    """Encodes a rendered prompt to ids, with IMAGE_TOKEN_INDEX for ``<image>``.

    Raises:
        PromptError: tags and images differ in number.
    """
    return encode([Segment(text)], tokenizer, num_images).input_ids


def check_images(text: str, num_images: int) -> None:
    """Compares the number of tags in a text with the number of images.

    Raises:
        PromptError: they differ.
    """
    tags = text.count(IMAGE_TAG)
    if tags != num_images:
        raise PromptError(
            f'the prompt has {tags} {IMAGE_TAG} tags but {num_images} images were given. '
            f'Write one {IMAGE_TAG} where each image belongs.'
        )


def _chunks(segments: Sequence[Segment]) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    """Yields (text, learned character ranges) for each stretch between images.

    The whole text is split, not each segment: a tag may span two segments.
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
    """Refuses an ``<image>`` tag that overlaps an answer."""
    at = {k for m in re.finditer(IMAGE_TAG, _join(segments)) for k in range(*m.span())}
    start = 0
    for segment in segments:
        if segment.learn and not at.isdisjoint(range(start, start + len(segment.text))):
            raise PromptError(
                f'an answer cannot contain {IMAGE_TAG}, got {segment.text[:60]!r}. '
                'Images belong to the question.'
            )
        start += len(segment.text)


def _check_letters(text: str) -> None:
    """Refuses half of a surrogate pair, which JSON may contain and no tokenizer accepts."""
    half = re.search('[\ud800-\udfff]', text)
    if half:
        raise PromptError(
            f'the text has {half[0]!r} at character {half.start()}, which is half of a surrogate '
            'pair; expected whole characters. Remove it, or write the character whole.'
        )


def _join(segments: Sequence[Segment]) -> str:
    return ''.join(segment.text for segment in segments)
