"""Yields one answer's ids, and its text in pieces that are final."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from mmllava.generation.config import generation_config
from mmllava.generation.loop import decode
from mmllava.generation.stop import StopRule


def stream_ids(
    language: Any,
    embeds: Tensor,
    cache: Any,
    tokenizer: Any,
    settings: dict[str, Any],
    seed: int | None = None,
    stop: str | None = None,
) -> Iterator[int]:
    """Yields new token ids, without the one that ends the text.

    The cache holds everything that was fed: the prompt and all ids yielded but
    the last one.

    Args:
        language: a `mmllava.generation.loop.Decoder` with a config.
        embeds: ``(1, L, D)``: what follows the positions that the cache holds.
        cache: of keys and values, grown in place.
        tokenizer: gives the id that ends the text.
        settings: keyword arguments of ``GenerationConfig``, ``max_new_tokens`` among
            them; one beam.
        seed: makes sampling repeatable.
        stop: text that ends an answer; `stream_text` cuts it off if it is several tokens.

    Raises:
        ConfigError: settings that ``GenerationConfig`` does not take.
    """
    config = generation_config(settings, tokenizer, language.config.vocab_size)
    rule, generator = StopRule(tokenizer, stop), None
    if seed is not None:
        generator = torch.Generator(embeds.device).manual_seed(seed)
    limits = [config.max_new_tokens]
    for (token,) in decode(language, embeds, cache, config, limits, rule, generator=generator):
        if token in rule.ids:
            return
        yield token


def stream_text(
    ids: Iterator[int],
    to_text: Callable[[list[int]], str],
    stop: str | Sequence[str] | None,
) -> Iterator[str]:
    """Yields an answer's text in pieces that are final; joined, they are the answer.

    Held back are an incomplete character, white space that may be the end, and
    what may be the beginning of ``stop``.

    Args:
        ids: new token ids.
        to_text: decodes the ids so far.
        stop: text or texts that end the answer; None if only the ids do.
    """
    stops = [stop] if isinstance(stop, str) else list(stop or ())
    seen: list[int] = []
    sent = 0
    for token in ids:
        seen.append(token)
        text = to_text(seen).lstrip()
        found = [text.index(stop) for stop in stops if stop and stop in text]
        if found:
            text = text[: min(found)].rstrip()
            yield from _piece(text, sent, len(text))
            return
        end = min(_final_length(text, stop) for stop in stops or [None])
        yield from _piece(text, sent, end)
        sent = max(sent, end)
    text = to_text(seen).strip()
    yield from _piece(text, sent, len(text))


def _piece(text: str, start: int, end: int) -> Iterator[str]:
    if end > start:
        yield text[start:end]


def _final_length(text: str, stop: str | None) -> int:
    """Counts the characters that no further token can change or take away."""
    end = len(text.rstrip().rstrip('\ufffd').rstrip())
    for size in range(len(stop or ''), 0, -1):
        if text.endswith(stop[:size]):
            return min(end, len(text[:-size].rstrip()))
    return end
