"""Decides where an answer ends: at the end-of-text token, or at a template's stop text."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteria


class StopRule:
    """Tells whether an answer has ended.

    A stop text that the vocabulary has as one token is compared by id, since a special
    token has no text; any other is looked for in the decoded answer.

    Args:
        tokenizer: gives the end-of-text id, and the stop text's if it has one.
        stop: text that ends an answer; None if only end-of-text does.
    """

    def __init__(self, tokenizer: Any, stop: str | None = None) -> None:
        token = tokenizer.find(stop) if stop else None
        self.tokenizer = tokenizer
        self.ids = (tokenizer.eos_id,) if token is None else (tokenizer.eos_id, token)
        self.text = stop if token is None else None
        self.texts = (self.text,) if self.text else ()

    def ends(self, answer: Sequence[int]) -> bool:
        """Looks at the ids of an answer so far; the last one is new."""
        if answer[-1] in self.ids:
            return True
        if not self.texts:
            return False
        text = self.tokenizer.decode(answer)
        return any(stop in text for stop in self.texts)


class StopTextCriteria(StoppingCriteria):
    """Ends a batch entry in transformers' ``generate`` when its new text holds the stop text."""

    def __init__(self, stop: str, tokenizer: Any) -> None:
        self.stop, self.tokenizer = stop, tokenizer

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        ended = [self.stop in self.tokenizer.decode(ids) for ids in input_ids.tolist()]
        return torch.tensor(ended, device=input_ids.device)
