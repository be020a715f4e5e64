"""Floor 2. Samples to a batch."""

from collections.abc import Sequence
from typing import Any


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, list]:
    """Keeps each sample's pictures together.

    mmengine's ``pseudo_collate`` turns lists about: of two samples of two pictures
    each, the first would get the first picture of both.

    Returns:
        ``inputs`` and ``data_samples``, lists with one entry a sample.
    """
    return {name: [sample[name] for sample in samples] for name in ('inputs', 'data_samples')}
