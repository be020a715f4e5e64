"""A training sample to ids and labels: what each template learns."""

from collections.abc import Sequence
from typing import Any

from mmllava.prompts.encode import encode, encode_text
from mmllava.prompts.render import render
from mmllava.prompts.templates import Template
from mmllava.structures import IGNORE_INDEX, IMAGE_TAG, EncodedPrompt, Segment, Turn


def encode_training(
    template: Template, turns: Sequence[Turn], tokenizer: Any, num_images: int
) -> EncodedPrompt:
    """Ids and labels of a whole conversation.

    Answers are learned with the mark that ends them; the ``single`` templates
    (v0) have a format of their own, see `_encode_v0`.

    Raises:
        PromptError: as `render` and `encode`.
    """
    segments = render(template, turns)
    if template.style == 'single':
        return _encode_v0(template, turns, tokenizer, num_images)
    return encode(segments, tokenizer, num_images)


def _encode_v0(
    template: Template, turns: Sequence[Turn], tokenizer: Any, num_images: int
) -> EncodedPrompt:
    """The format that v0 was trained in, which is not the one that it is asked in.

    Header, then ``### Role: text`` and a line break for each turn, then ``### ``.
    Which tokens are learned is counted, as the original does: each turn is as long
    as it is when tokenised alone; of a question all but the first two tokens are
    skipped (with LLaMA's tokenizer those two are its ``###``, the learned stop
    signal), answers are learned whole. With a tokenizer that writes ``###``
    otherwise the count drifts, there as here. Source: ``preprocess`` and
    ``_mask_targets`` of LLaVA 1.2.2.
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
