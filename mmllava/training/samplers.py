"""In which order samples are learned: steps of one modality, evenly long batches."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from mmllava.errors import ConfigError
from mmllava.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class ModalityLengthSampler(Sampler):
    """Batches with about as many words as their neighbours, of images or of text only.

    What one optimizer step learns, over all processes and accumulated batches, is a
    megabatch. Each has one modality, but for what is left over of both, which comes
    last and may be two megabatches long. A megabatch is cut into batches of about as
    many words each. Where all samples are of one modality, this is plain grouping by
    length. Source: ``group_by_modality_length`` of LLaVA 1.2.2; there a part of the
    order is not seeded.

    The order depends on seed and epoch alone, so that a resumed run sees the same;
    which samples a megabatch holds does not depend on how it is shared out. If the
    processes do not divide the samples, the first samples of the order come once
    more, fewer than there are processes.

    Args:
        dataset: has ``lengths``, words of each sample, negative for text only
            (`mmllava.datasets.InstructDataset`).
        batch_size: samples of one process at a time, that of the data loader.
        accumulative_counts: batches that one optimizer step learns, that of the
            optimizer wrapper.
        seed: of the order, the same in all processes; None draws one for all.

    Raises:
        ConfigError: a number is below 1, or the dataset has no lengths.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        accumulative_counts: int = 1,
        seed: int | None = None,
    ) -> None:
        for name, value in dict(
            batch_size=batch_size, accumulative_counts=accumulative_counts
        ).items():
            if value < 1:
                raise ConfigError(f'ModalityLengthSampler needs {name} >= 1, got {value}.')
        if not hasattr(dataset, 'lengths'):
            raise ConfigError(
                f'ModalityLengthSampler groups by the lengths of a dataset, and a '
                f'{type(dataset).__name__} has none. Use mmllava.InstructDataset (it mixes several '
                'files itself), or sampler=dict(type="DefaultSampler", shuffle=True).'
            )
        self.lengths = [int(length) for length in dataset.lengths]
        self.batch_size, self.accumulative_counts = batch_size, accumulative_counts
        self.rank, self.world_size = get_dist_info()
        self.seed = sync_random_seed() if seed is None else seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Sets what the order depends on besides the seed; mmengine calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Samples of this process."""
        return -(-len(self.lengths) // self.world_size)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        chunks = self.world_size * self.accumulative_counts
        order = group_by_modality(self.lengths, self.batch_size, chunks, generator)
        return iter(_share(order, self.batch_size, self.rank, self.world_size))


def group_by_modality(
    lengths: Sequence[int], batch_size: int, chunks: int, generator: torch.Generator
) -> list[int]:
    """All indices, in megabatches of ``batch_size * chunks`` of one modality.

    Args:
        lengths: words of each sample, negative for text only, none 0.
        batch_size: samples of one process at a time.
        chunks: batches in a megabatch.
        generator: gives the order.

    Raises:
        ConfigError: a length is 0.
    """
    if 0 in lengths:
        raise ConfigError(
            f'sample {list(lengths).index(0)} has length 0, which says nothing of its modality; '
            'expected words, positive with images and negative without.'
        )
    kinds = [
        [k for k, length in enumerate(lengths) if length > 0],
        [k for k, length in enumerate(lengths) if length < 0],
    ]
    if not all(kinds):
        return group_by_length([abs(length) for length in lengths], batch_size, chunks, generator)
    size, full, left = batch_size * chunks, [], []
    for kind in kinds:
        own = [abs(lengths[k]) for k in kind]
        order = [kind[k] for k in group_by_length(own, batch_size, chunks, generator)]
        megabatches = _cut(order, size)
        full += megabatches[:-1]
        left += megabatches[-1]
    shuffled = [full[k] for k in torch.randperm(len(full), generator=generator).tolist()]
    return [k for megabatch in [*shuffled, sorted(left)] for k in megabatch]


def group_by_length(
    lengths: Sequence[int], batch_size: int, chunks: int, generator: torch.Generator
) -> list[int]:
    """All indices, in random megabatches, the longest samples of each first.

    Each megabatch is cut into ``chunks`` batches of as many samples and about as
    many words, which follow one another.

    Args:
        lengths: words of each sample.
        batch_size: samples in a batch.
        chunks: batches in a megabatch.
        generator: gives the order.
    """
    order = torch.randperm(len(lengths), generator=generator).tolist()
    found = []
    for megabatch in _cut(order, batch_size * chunks):
        longest_first = sorted(megabatch, key=lambda k: lengths[k], reverse=True)
        found += [k for chunk in _balance(longest_first, lengths, chunks) for k in chunk]
    return found


def _balance(order: Sequence[int], lengths: Sequence[int], chunks: int) -> list[list[int]]:
    """The indices, each to the chunk with the fewest words that has room.

    Where they do not divide, every so manieth instead, as in the original.
    """
    if len(order) % chunks:
        return [list(order[k::chunks]) for k in range(chunks)]
    room = len(order) // chunks
    found: list[list[int]] = [[] for _ in range(chunks)]
    words: list[float] = [0] * chunks
    for k in order:
        least = words.index(min(words))
        found[least].append(k)
        words[least] += lengths[k]
        if len(found[least]) == room:
            words[least] = float('inf')
    return found


def _share(order: Sequence[int], batch_size: int, rank: int, world_size: int) -> list[int]:
    """The indices of one process: every ``world_size``-th batch.

    What does not fill a batch of every process is shared out in smaller ones, all of
    one size; a process that would go short gets one of the first of the order.
    """
    full = len(order) // (batch_size * world_size) * (batch_size * world_size)
    own = [k for batch in _cut(order[:full], batch_size)[rank::world_size] for k in batch]
    rest = list(order[full:])
    while len(rest) % world_size:
        rest += order[: world_size - len(rest) % world_size]
    each = len(rest) // world_size
    return own + rest[rank * each : (rank + 1) * each]


def _cut(order: Sequence[int], size: int) -> list[list[int]]:
    return [list(order[k : k + size]) for k in range(0, len(order), size)]
