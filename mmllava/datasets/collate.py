"""Floor 2. Samples side by side, as a batch."""

from collections.abc import Sequence
from typing import Any

from mmllava.registry import FUNCTIONS


@FUNCTIONS.register_module()
def keep_lists(samples: Sequence[dict[str, Any]]) -> dict[str, list]:
    """One list for each key of the samples, nothing stacked.

    For a ``collate_fn``: mmengine's ``pseudo_collate`` looks into a list of pictures,
    refuses two of unequal length and mixes the pictures of samples of equal length.
    """
    return {key: [sample[key] for sample in samples] for key in samples[0]}
