"""Greedy or sampled decoding, token by token, so that it can be streamed and stopped."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from mmllava.errors import ConfigError, unknown_name
from mmllava.generation.config import GENERATION_SETTINGS, STEPPED, generation_config


def decode(
    language: Any,
    embeds: Tensor,
    cache: Any,
    tokenizer: Any,
    settings: dict[str, Any],
    seed: int | None = None,
    stop: str | None = None,
) -> Iterator[int]:
    """Yields new token ids, the one that ends the text left out.

    The cache holds everything that was fed: the prompt and all ids yielded but
    the last one.

    Args:
        language: the language model.
        embeds: ``(1, L, D)``: what follows the positions that the cache holds.
        cache: from ``language.new_cache()``, grown in place.
        tokenizer: gives the id that ends the text.
        settings: keyword arguments of ``GenerationConfig``; one beam.
        seed: makes sampling repeatable.
        stop: text that ends an answer; seen here only if it is one token.

    Raises:
        ConfigError: settings that ``GenerationConfig`` does not take.
    """
    config = generation_config(settings, tokenizer, language.config.vocab_size)
    ends = {tokenizer.eos_id, tokenizer.find(stop) if stop else None}
    generator = None
    if seed is not None:
        generator = torch.Generator(embeds.device).manual_seed(seed)
    steps = language.steps(embeds, cache, config, generator=generator)
    for token in islice(steps, config.max_new_tokens):
        id_ = int(token)
        if id_ in ends:
            return
        yield id_


def check_settings(settings: dict[str, Any]) -> None:
    """Refuses settings that decoding token by token would not follow.

    Raises:
        ConfigError: names them, and where they work.
    """
    for name in sorted(set(settings) - STEPPED):
        if name not in GENERATION_SETTINGS:
            raise unknown_name('generation setting', name, STEPPED)
        raise ConfigError(
            f'{name}={settings[name]!r}: a streamed answer follows {", ".join(sorted(STEPPED))} '
            'only. Leave it out, or use inference_model.'
        )


def stream_text(
    ids: Iterator[int], to_text: Callable[[list[int]], str], stop: str | None
) -> Iterator[str]:
    """Turns ids into pieces of text as soon as they are certain; joined, they are the answer.

    Held back: half a character, white space that may be the end, and what may
    be the beginning of ``stop``.

    Args:
        ids: new token ids.
        to_text: the text of ids so far.
        stop: text that ends the answer; None if only the ids do.
    """
    seen: list[int] = []
    given = 0
    for token in ids:
        seen.append(token)
        text = to_text(seen).lstrip()
        if stop and stop in text:
            text = text.split(stop)[0].rstrip()
            yield from _piece(text, given, len(text))
            return
        end = _certain(text, stop)
        yield from _piece(text, given, end)
        given = max(given, end)
    text = to_text(seen).strip()
    yield from _piece(text, given, len(text))


def _piece(text: str, start: int, end: int) -> Iterator[str]:
    if end > start:
        yield text[start:end]


def _certain(text: str, stop: str | None) -> int:
    """How many characters no further token can change or take away."""
    end = len(text.rstrip().rstrip('\ufffd').rstrip())
    for size in range(len(stop or ''), 0, -1):
        if text.endswith(stop[:size]):
            return min(end, len(text[:-size].rstrip()))
    return end
