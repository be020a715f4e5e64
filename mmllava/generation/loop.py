"""Decodes a batch, greedily or by sampling, one token of each entry at a time."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import GenerationConfig

from mmllava.generation.config import logits_processors
from mmllava.generation.stop import StopRule


class Decoder(Protocol):
    """Describes the language model as the loop sees it."""

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids ``(...)`` to embeddings ``(..., D)``."""

    def extend(self, embeds: Tensor, cache: Any, mask: Tensor | None = None) -> Tensor:
        """Logits ``(B, V)`` after ``embeds`` ``(B, L, D)``; grows ``cache`` by L positions."""


def decode(
    language: Decoder,
    embeds: Tensor,
    cache: Any,
    config: GenerationConfig,
    limits: Sequence[int],
    stop: StopRule,
    mask: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[list[int | None]]:
    """Yields the next token of each batch entry, None for one that has ended.

    An entry that has ended waits for the others. A token is fed when the next one is
    asked for: the cache then holds the prompts and all tokens yielded but the last.

    Args:
        language: gives embeddings and logits.
        embeds: ``(B, L, D)``: what follows the positions that the cache holds.
        cache: of keys and values, grown in place.
        config: from `mmllava.generation.config.generation_config`; one beam.
        limits: how many new tokens each entry may have, at least 1.
        stop: ends an entry; the token that does is still yielded.
        mask: ``(B, cached + L)``, 0 on padding on the left; None if there is none.
        generator: makes sampling repeatable; None uses torch's own.
    """
    process = logits_processors(config)
    ids = torch.empty((len(embeds), 0), dtype=torch.long, device=embeds.device)
    answers: list[list[int]] = [[] for _ in limits]
    running = set(range(len(limits)))
    while running:
        if ids.shape[1]:
            embeds = language.embed(ids[:, -1:])
            mask = None if mask is None else torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        logits = process(ids, language.extend(embeds, cache, mask))  # (B, V)
        tokens = _choose(logits, config.do_sample, generator)  # (B,)
        ids = torch.cat([ids, tokens[:, None]], dim=1)
        step: list[int | None] = [None] * len(answers)
        for entry, token in enumerate(tokens.tolist()):
            if entry not in running:
                continue
            step[entry] = token
            answers[entry].append(token)
            if len(answers[entry]) >= limits[entry] or stop.ends(answers[entry]):
                running.remove(entry)
        yield step


def decode_batch(*args: Any, **kwargs: Any) -> list[list[int]]:
    """Runs `decode` to its end; the new ids of each batch entry, its last one included."""
    steps = zip(*decode(*args, **kwargs), strict=True)
    return [[token for token in entry if token is not None] for entry in steps]


def _choose(logits: Tensor, sample: bool, generator: torch.Generator | None) -> Tensor:
    """Picks the best or a drawn token ``(B,)`` from logits ``(B, V)``."""
    if not sample:
        return logits.argmax(-1)
    return torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
