"""Keys and values of the requests that are being answered, a slot for each.

A tensor ``(slots, H, positions, D)`` for each layer grows with the longest request, and a step
attends over the positions in use only. The model reads it as a cache of transformers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

#: positions are added in such portions
BLOCK = 64
Layers = list[tuple[Tensor, Tensor]]  # keys and values (H, L, D) of each layer


class SlotCache:
    """Cache of keys and values with a length of its own for each slot.

    Busy slots are the first ones: `move` closes a gap.
    """

    def __init__(self) -> None:
        self.layers: list[list[Tensor]] = []  # of each layer, keys and values
        self.lengths: list[int] = []  # of each slot
        self._slots: list[int] = []  # that this call of the model extends
        self._starts: list[int] = []
        self._end = 0

    @property
    def nbytes(self) -> int:
        """Bytes that are allocated."""
        return sum(t.nbytes for layer in self.layers for t in layer)

    def clear(self) -> None:
        """Frees all memory. No slot may be busy."""
        self.layers, self.lengths = [], []

    def open(self, slots: Sequence[int], count: int) -> tuple[Tensor, Tensor]:
        """Says where the next call of the model writes: ``count`` positions after each slot's end.

        Args:
            slots: the first ones in order, or a single one of any number.
            count: 1 if there are several slots.

        Returns:
            positions ``(B, count)``; mask ``(B, 1, count, K)``, true where a query sees a key.
        """
        self._slots = list(slots)
        while len(self.lengths) <= max(slots):
            self.lengths.append(0)
        self._starts = [self.lengths[slot] for slot in slots]
        self._end = max(self._starts) + count
        for slot in slots:
            self.lengths[slot] += count
        positions = torch.tensor(self._starts)[:, None] + torch.arange(count)
        return positions, torch.arange(self._end) <= positions[:, None, :, None]

    def update(self, key: Tensor, value: Tensor, layer_idx: int, *_: object) -> tuple:
        """Writes keys and values ``(B, H, count, D)`` of a layer; returns those in use."""
        self._reserve(layer_idx, key, value)
        result = []
        for store, new in zip(self.layers[layer_idx], (key, value), strict=True):
            if len(self._slots) == 1:
                slot, start = self._slots[0], self._starts[0]
                store[slot, :, start : self._end] = new[0]
                result.append(store[slot : slot + 1, :, : self._end])
                continue
            index = torch.tensor([self._slots, self._starts], device=store.device)
            store[index[0], :, index[1]] = new[:, :, 0].to(store.dtype)
            result.append(store[: len(self._slots), :, : self._end])
        return tuple(result)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Length that transformers would compute positions from; they are always given."""
        return self._end

    def read(self, slot: int, start: int, end: int) -> Layers:
        """Copies keys and values of some positions of a slot."""
        return [
            (keys[slot, :, start:end].clone(), values[slot, :, start:end].clone())
            for keys, values in self.layers
        ]

    def write(self, slot: int, layers: Layers) -> None:
        """Appends keys and values to a slot."""
        count = layers[0][0].shape[1]
        self.open([slot], count)
        for number, (keys, values) in enumerate(layers):
            self.update(keys[None], values[None], number)

    def move(self, source: int, target: int) -> None:
        """Moves a slot's content to another slot."""
        length = self.lengths[target] = self.lengths[source]
        for keys, values in self.layers:
            for store in (keys, values):
                store[target, :, :length] = store[source, :, :length]
        self.lengths[source] = 0

    def wipe(self, slot: int) -> None:
        """Overwrites a slot that may hold NaN, which no mask hides."""
        for layer in self.layers:
            for store in layer:
                store[slot].zero_()

    def _reserve(self, layer: int, key: Tensor, value: Tensor) -> None:
        """Makes room for the slots and positions of this call."""
        if layer == len(self.layers):
            self.layers.append([t.new_empty(0, t.shape[1], 0, t.shape[3]) for t in (key, value)])
        old = self.layers[layer][0]
        slots = max(old.shape[0], max(self._slots) + 1)
        length = old.shape[2]
        if self._end > length:
            length = max(-(-self._end // BLOCK) * BLOCK, int(length * 1.25))
        if (slots, length) == (old.shape[0], old.shape[2]):
            return
        for number, store in enumerate(self.layers[layer]):
            # Zeros: a masked position has no weight, but NaN times zero is NaN.
            grown = store.new_zeros(slots, store.shape[1], length, store.shape[3])
            grown[: store.shape[0], :, : store.shape[2]] = store
            self.layers[layer][number] = grown
