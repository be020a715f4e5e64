"""Collates samples to a batch."""

from collections.abc import Sequence
from typing import Any

from mmllava.registry import FUNCTIONS


@FUNCTIONS.register_module('keep_lists')
def collate(samples: Sequence[dict[str, Any]]) -> dict[str, list]:
    """Collates samples and keeps each one's images together; a config's ``mmllava.keep_lists``.

    mmengine's ``pseudo_collate`` transposes lists: given two samples of two images each, the
    first would get the first image of both. It refuses lists of unequal length, and therefore
    text-only samples in a batch with others.

    Returns:
        ``inputs`` and ``data_samples``, lists with one entry per sample.
    """
    return {name: [sample[name] for sample in samples] for name in ('inputs', 'data_samples')}
