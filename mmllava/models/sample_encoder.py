"""Encodes a training sample once, where it is read: ids, labels, and the room of its images."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmllava.models.llava import Llava
from mmllava.models.preprocessor import flatten_images, original_sizes
from mmllava.models.splice import check_rows
from mmllava.models.tiles import merge_tiles
from mmllava.structures import IGNORE_INDEX, IMAGE_TOKEN_INDEX, EncodedPrompt, EncodedSample


class SampleEncoder:
    """Encodes packed samples as a model learns them, without its weights.

    It can be pickled, so that the workers of a data loader use it
    (`mmllava.datasets.InstructDataset.encoder`); the model then takes the ids and labels as they
    are.

    Args:
        model: gives the prompt builder and the sizes; it needs no weights.
        max_tokens: where training cuts a sample; None is the model's own limit.
    """

    def __init__(self, model: Llava, max_tokens: int | None = None) -> None:
        self.builder = model.prompt_builder
        self.max_tokens = max_tokens or model.max_tokens or model.language.max_tokens
        tower = model.vision_tower
        self._features = tower.num_patches + (tower.select_feature == 'cls_patch')
        self._image_size = tower.image_size
        self._pinpoints, self._merge = model.image_grid_pinpoints, model.mm_patch_merge_type
        self._newline = model.image_newline is not None
        self.builder.tokenizer  # noqa: B018 - read once, before workers are made

    def __call__(self, packed: dict[str, Any]) -> EncodedSample:
        """Encodes a sample: ``inputs`` and ``data_samples``, as a pipeline packs them.

        Raises:
            PromptError: it cannot be encoded, or has a token that the model does not embed.
        """
        sample, images = packed['data_samples'], flatten_images(packed['inputs'])
        lengths = [
            self.image_tokens(image, size)
            for image, size in zip(images, original_sizes(sample, images), strict=True)
        ]
        prompt = self.builder.encode_conversation(sample, len(images))
        check_rows(prompt, self.builder.vocab_size)
        tokens, learned = count_tokens(prompt, lengths, self.max_tokens)
        return EncodedSample(prompt, lengths, tokens, learned)

    def image_tokens(self, image: Tensor, size: tuple[int, int]) -> int:
        """Counts the tokens of an image ``(T, 3, S, S)`` that was (width, height) before."""
        newline = torch.zeros(1) if self._newline else None
        features = torch.zeros(len(image), self._features, 1)
        return len(
            merge_tiles(features, size, self._pinpoints, self._image_size, newline, self._merge)
        )


def count_tokens(prompt: EncodedPrompt, lengths: Sequence[int], max_tokens: int) -> tuple[int, int]:
    """Counts all tokens, and those with a label among the first ``max_tokens``.

    Args:
        prompt: ids and labels, each image one id.
        lengths: tokens of each image.
        max_tokens: where training cuts.
    """
    at, learned, images = 0, 0, iter(lengths)
    for id_, label in zip(prompt.input_ids, prompt.labels, strict=True):
        if id_ == IMAGE_TOKEN_INDEX:
            at += next(images)
            continue
        learned += label != IGNORE_INDEX and at < max_tokens
        at += 1
    return at, learned
