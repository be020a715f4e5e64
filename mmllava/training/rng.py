"""Runs evaluation inside training without changing its mode or RNG state."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from mmllava.training.checkpoint import random_state, restore_random_state


@contextmanager
def preserve_training_state(model: nn.Module) -> Iterator[dict[str, Any]]:
    """The model in the mode of use; afterwards mode and random numbers are what they were.

    So that a run that asks its model something now and then trains to the bit as one that
    does not. Yields the random numbers' state that training will go on with.
    """
    states, training = random_state(), model.training
    model.eval()
    try:
        yield states
    finally:
        model.train(training)
        restore_random_state(states)
