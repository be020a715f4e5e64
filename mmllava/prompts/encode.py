"""Floor 1. A conversation to token ids, labels and picture slots.

The text between two pictures is tokenised once, whole, as the authors do, and
labels are read from the characters that each token spells. Splitting the text
again and counting tokens, the original's way, drifts when a tokenizer merges a
space with the next word, and then silently learns nothing.
"""

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

    A token is learned if any of its characters lies in a learned segment.

    Args:
        segments: the prompt in order; joined, they are the exact prompt text.
        tokenizer: one of `mmllava.prompts.tokens`.
        num_images: pictures the caller holds; as many as ``<image>`` tags.

    Returns:
        Ids and labels of equal length L. A picture is one IMAGE_TOKEN_INDEX.

    Raises:
        PromptError: tags and pictures differ in number, or an answer holds a tag.
    """
    check_images(''.join(s.text for s in segments), num_images)
    ids, labels = [], []
    for number, (text, spans) in enumerate(_chunks(segments)):
        if number > 0:
            ids.append(IMAGE_TOKEN_INDEX)
            labels.append(IGNORE_INDEX)
        elif tokenizer.encode('')[:1]:
            ids.append(tokenizer.bos_id)
            labels.append(IGNORE_INDEX)
        for token in tokenizer.encode_spans(text):
            learned = any(token.start < last and token.end > first for first, last in spans)
            ids.append(token.id)
            labels.append(token.id if learned else IGNORE_INDEX)
    return EncodedPrompt(ids, labels)


def encode_text(text: str, tokenizer: Any, num_images: int) -> list[int]:
    """The ids of a prompt that is text already, with IMAGE_TOKEN_INDEX for ``<image>``.

    Raises:
        PromptError: tags and pictures differ in number.
    """
    return encode([Segment(text)], tokenizer, num_images).input_ids


def check_images(text: str, num_images: int) -> None:
    """Compares the tags in a text with the pictures that come with it.

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
    """Yields (text, learned character ranges) for each stretch between pictures."""
    text, spans = '', []
    for segment in segments:
        if segment.learn and IMAGE_TAG in segment.text:
            raise PromptError(
                f'an answer cannot hold {IMAGE_TAG}, got {segment.text[:60]!r}. '
                'Pictures belong to the question.'
            )
        first, *rest = segment.text.split(IMAGE_TAG)
        if segment.learn:
            spans.append((len(text), len(text) + len(first)))
        text += first
        for piece in rest:
            yield text, spans
            text, spans = piece, []
    yield text, spans
