"""Reads and restores the state of random numbers; runs evaluation that leaves no trace in it."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object
from torch import nn


@contextmanager
def preserve_training_state(model: nn.Module) -> Iterator[dict[str, Any]]:
    """Switches the model to evaluation; afterwards its mode and all random numbers are as before.

    So a run that asks its model something now and then trains to the bit as one that does not.
    Yields the state of the random numbers with which training goes on.
    """
    states, training = random_state(), model.training
    model.eval()
    try:
        yield states
    finally:
        model.train(training)
        restore_random_state(states)


def random_state() -> dict[str, Any]:
    """Returns the state of every generator of random numbers in this process."""
    kind, keys, *rest = np.random.get_state()
    return dict(
        torch=torch.get_rng_state(),
        cuda=torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        numpy=[kind, torch.from_numpy(keys.astype(np.int64)), *rest],
        python=random.getstate(),
    )


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Restores what `random_state` returned."""
    torch.set_rng_state(state['torch'])
    if state['cuda'] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'])
    kind, keys, *rest = state['numpy']
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    random.setstate(state['python'])


def all_random_states(held: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Gathers `random_state` of every process by rank, or its ``held`` state; each must call it."""
    return all_gather_object(random_state() if held is None else held)
