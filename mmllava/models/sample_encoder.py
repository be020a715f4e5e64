"""Encodes a training sample once, in a dataset's worker: ids, labels and image lengths."""

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
    """Encodes packed samples for a model's loss, without the model's weights.

    It can be pickled, for the workers of a data loader
    (`mmllava.datasets.InstructDataset.encoder`); the model then uses these ids and labels.

    Args:
        model: provides prompt builder and sizes; it may be on the meta device.
        max_tokens: length at which training cuts a sample; None is the model's own limit.
    """

    def __init__(self, model: Llava, max_tokens: int | None = None) -> None:
        self.builder = model.prompt_builder
        self.max_tokens = max_tokens or model.max_tokens or model.language.max_tokens
        tower = model.vision_tower
        self._features = tower.num_patches + (tower.select_feature == 'cls_patch')
        self._image_size = tower.image_size
        self._pinpoints, self._merge = model.image_grid_pinpoints, model.mm_patch_merge_type
        self._newline = model.image_newline is not None
        self.builder.tokenizer  # noqa: B018 - read once, before workers start

    def __call__(self, packed: dict[str, Any]) -> EncodedSample:
        """Encodes a sample.

        Args:
            packed: ``inputs`` and ``data_samples``, as a pipeline packs them.

        Raises:
            PromptError: it cannot be encoded, or has a token beyond the model's vocabulary.
        """
        sample, images = packed['data_samples'], flatten_images(packed['inputs'])
        lengths = [
            self.image_tokens(image, size)
            for image, size in zip(images, original_sizes(sample, images), strict=True)
        ]
        prompt = self.builder.encode_conversation(sample, len(images))
        check_rows(prompt, self.builder.vocab_size)
        tokens, learned = count_tokens(prompt, lengths, self.max_tokens)
        return EncodedSample(prompt, lengths, tokens, self.max_tokens, learned)

    def image_tokens(self, image: Tensor, size: tuple[int, int]) -> int:
        """Counts the tokens of an image.

        Args:
            image: one square or v1.6's tiles, ``(T, 3, S, S)``.
            size: (width, height) of the original image, in pixels.
        """
        newline = torch.zeros(1) if self._newline else None
        features = torch.zeros(len(image), self._features, 1)
        return len(
            merge_tiles(features, size, self._pinpoints, self._image_size, newline, self._merge)
        )


def count_tokens(prompt: EncodedPrompt, lengths: Sequence[int], max_tokens: int) -> tuple[int, int]:
    """Counts all tokens, and the tokens with a label among the first ``max_tokens``.

    Args:
        prompt: ids and labels, one id per image.
        lengths: tokens of each image.
        max_tokens: length at which training cuts.
    """
    at, learned, images = 0, 0, iter(lengths)
    for id_, label in zip(prompt.input_ids, prompt.labels, strict=True):
        if id_ == IMAGE_TOKEN_INDEX:
            at += next(images)
            continue
        learned += label != IGNORE_INDEX and at < max_tokens
        at += 1
    return at, learned
