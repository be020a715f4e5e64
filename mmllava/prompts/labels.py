"""Encodes a training sample to ids and labels, by the rules of its template."""

from collections.abc import Sequence
from typing import Any

from mmllava.prompts.encode import encode, encode_text
from mmllava.prompts.render import render
from mmllava.prompts.templates import Template
from mmllava.structures import IGNORE_INDEX, IMAGE_TAG, EncodedPrompt, Segment, Turn


def encode_training(
    template: Template, turns: Sequence[Turn], tokenizer: Any, num_images: int
) -> EncodedPrompt:
    """Encodes a whole conversation to ids and labels.

    Answers are learned together with their end mark; the ``single`` templates
    (v0) have a separate format, see `_encode_v0`.

    Args:
        template: of the model.
        turns: user and assistant, alternating.
        tokenizer: one of `mmllava.prompts.tokenizer`.
        num_images: number of the sample's images.

    Raises:
        PromptError: see `render` and `encode`.
    """
    segments = render(template, turns)
    if template.style == 'single':
        return _encode_v0(template, turns, tokenizer, num_images)
    return encode(segments, tokenizer, num_images)


def _encode_v0(
    template: Template, turns: Sequence[Turn], tokenizer: Any, num_images: int
) -> EncodedPrompt:
    """Encodes in v0's training format, which differs from its inference format.

    Header, then ``### Role: text`` and a line break for each turn, then ``### ``.
    Labels are assigned by counting tokens, as in the original: each turn counts as many as it
    has when tokenized alone; all but the first two tokens of a question are ignored (with
    LLaMA's tokenizer these two are ``###``, the learned stop signal), answers are learned
    whole. With a tokenizer that splits ``###`` differently the count drifts, as in the
    original. Source: ``preprocess`` and ``_mask_targets`` of LLaVA 1.2.2.
    """
    header = f'{template.system}\n\n'
    spoken = [f'### {template.roles[k % 2]}: {turn.text}\n' for k, turn in enumerate(turns)]
    whole = [Segment(header + ''.join(spoken) + '### ')]
    labels = list(encode(whole, tokenizer, num_images).input_ids)
    ids = list(labels)
    cursor = _length(header, tokenizer)
    labels[:cursor] = [IGNORE_INDEX] * len(labels[:cursor])
    for number, text in enumerate(spoken):
        end = cursor + _length(text, tokenizer)
        if number % 2 == 0:
            labels[cursor + 2 : end] = [IGNORE_INDEX] * len(labels[cursor + 2 : end])
        cursor = end
    return EncodedPrompt(ids, [label if label >= 0 else IGNORE_INDEX for label in labels])


def _length(text: str, tokenizer: Any) -> int:
    return len(encode_text(text, tokenizer, text.count(IMAGE_TAG)))
