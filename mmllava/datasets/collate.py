"""Samples to a batch."""

from collections.abc import Sequence
from typing import Any

from mmllava.registry import FUNCTIONS


@FUNCTIONS.register_module('keep_lists')
def collate(samples: Sequence[dict[str, Any]]) -> dict[str, list]:
    """Keeps each sample's images together; a config's ``mmllava.keep_lists``.

    mmengine's ``pseudo_collate`` turns lists about: of two samples of two images
    each, the first would get the first image of both. Lists of unequal length, text
    alone among them, it refuses.

    Returns:
        ``inputs`` and ``data_samples``, lists with one entry a sample.
    """
    return {name: [sample[name] for sample in samples] for name in ('inputs', 'data_samples')}
