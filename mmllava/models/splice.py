"""Image features between word embeddings, and rows to one batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmllava.errors import PromptError
from mmllava.models.language import LanguageModel
from mmllava.structures import IGNORE_INDEX, IMAGE_TOKEN_INDEX, EncodedPrompt


@dataclass(frozen=True)
class Batch:
    """Rows of one length L: embeddings ``(B, L, D)``, mask and labels ``(B, L)``.

    ``positions`` ``(1, L)`` where one row holds several samples: each begins again at 0.
    """

    embeds: Tensor
    mask: Tensor
    labels: Tensor
    positions: Tensor | None = None


def splice(
    language: LanguageModel, prompt: EncodedPrompt, features: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """One prompt with its images put in.

    Args:
        language: gives the word embeddings.
        prompt: ids and labels, an image as one IMAGE_TOKEN_INDEX.
        features: ``(N, D)`` for each image, in order.

    Returns:
        Embeddings ``(L, D)`` and labels ``(L,)``; an image's labels are ignored.

    Raises:
        PromptError: slots and images differ in number, or a token has no row.
    """
    if prompt.num_images != len(features):
        raise PromptError(
            f'the prompt has {prompt.num_images} image slots but {len(features)} images came.'
        )
    check_rows(prompt, language.config.vocab_size)
    ids = torch.tensor(prompt.input_ids)
    is_image = ids == IMAGE_TOKEN_INDEX
    words = language.embed(ids.masked_fill(is_image, 0))
    labels = torch.tensor(prompt.labels, device=words.device)
    embeds, targets, start = [], [], 0
    for slot, feature in zip(is_image.nonzero().flatten().tolist(), features, strict=True):
        embeds += [words[start:slot], feature.to(words)]
        targets += [labels[start:slot], labels.new_full((len(feature),), IGNORE_INDEX)]
        start = slot + 1
    return torch.cat([*embeds, words[start:]]), torch.cat([*targets, labels[start:]])


def check_rows(prompt: EncodedPrompt, rows: int) -> None:
    """Refuses a token that the word embedding has no row for.

    Raises:
        PromptError: there is one.
    """
    if max(prompt.input_ids, default=0) >= rows:
        raise PromptError(
            f'the text spells token {max(prompt.input_ids)}, and the language model has {rows} '
            'rows: a word such as [PAD] that its tokenizer has and its weights do not. Leave it '
            'out of the text.'
        )


def collate(rows: Sequence[tuple[Tensor, Tensor]], side: str) -> Batch:
    """Rows of `splice` as one batch.

    Padded to one length, on the ``left`` to generate, on the ``right`` to learn; or
    ``packed``: all in one row, none padded.
    """
    if side == 'packed':
        return _pack(rows)
    embeds = [row[0] for row in rows]
    mask = [row[1].new_ones(len(row[1])) for row in rows]
    labels = [row[1] for row in rows]

    def pad(tensors: Sequence[Tensor], value: int) -> Tensor:
        return nn.utils.rnn.pad_sequence(
            list(tensors), batch_first=True, padding_value=value, padding_side=side
        )

    return Batch(pad(embeds, 0), pad(mask, 0), pad(labels, IGNORE_INDEX))


def _pack(rows: Sequence[tuple[Tensor, Tensor]]) -> Batch:
    """One row; what a sample's last token predicts is not the first of the next."""
    embeds = torch.cat([row[0] for row in rows])[None]
    ignored = rows[0][1].new_full((1,), IGNORE_INDEX)
    labels = torch.cat([part for row in rows for part in (ignored, row[1][1:])])[None]
    positions = [torch.arange(len(row[1]), device=labels.device) for row in rows]
    return Batch(embeds, torch.ones_like(labels), labels, torch.cat(positions)[None])
