"""Chooses one request's next token, by its own settings and its own generator."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import MinPLogitsWarper

from mmllava.errors import ConfigError, unknown_name
from mmllava.generation.config import LOOP_SETTINGS, generation_config, logits_processors

#: of new tokens, as OpenAI's API has them; transformers does not know them
PENALTIES = ('presence_penalty', 'frequency_penalty', 'logit_bias')
#: what the engine follows
ENGINE_SETTINGS = LOOP_SETTINGS | {'min_new_tokens', 'min_p', *PENALTIES}
#: below it sampling is greedy: a division by it would overflow
MIN_TEMPERATURE = 1e-5


class Sampler:
    """Chooses the next token of one request.

    Args:
        settings: those in `ENGINE_SETTINGS`; one beam.
        tokenizer: see `mmllava.generation.config.generation_config`.
        vocab_size: of the logits.
        end_ids: not chosen before ``min_new_tokens``.
        seed: of its own generator; None draws one from torch's.
        device: of the logits.

    Raises:
        ConfigError: a setting that the engine does not follow, or a value that does not work.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        tokenizer: Any,
        vocab_size: int,
        end_ids: Sequence[int],
        seed: int | None,
        device: torch.device,
    ) -> None:
        settings = dict(settings)
        for name in settings:
            if name not in ENGINE_SETTINGS:
                raise unknown_name('setting of the engine', name, ENGINE_SETTINGS)
        if settings.get('num_beams', 1) != 1:
            raise ConfigError(
                f'num_beams={settings["num_beams"]}: the engine has no beams. Leave it out.'
            )
        temperature = settings.get('temperature')
        if isinstance(temperature, (int, float)) and 0 <= temperature < MIN_TEMPERATURE:
            settings.pop('temperature')
            settings['do_sample'] = False
        own = {name: settings.pop(name, None) for name in PENALTIES}
        self.config = generation_config(settings, tokenizer, vocab_size)
        self._process = logits_processors(self.config)
        if self.config.do_sample and self.config.min_p is not None:
            self._process.append(MinPLogitsWarper(self.config.min_p))
        self._presence, self._frequency = (_number(name, own[name]) for name in PENALTIES[:2])
        self._bias = _bias(own['logit_bias'], vocab_size)
        self._min = self.config.min_new_tokens or 0
        self._end_ids = list(end_ids)
        self.plain = not (
            self.config.do_sample
            or len(self._process)
            or self._presence
            or self._frequency
            or self._bias
            or self._min
        )
        if self.config.do_sample:
            if seed is None:
                seed = int(torch.randint(2**62, ()))
            self._generator = torch.Generator(device).manual_seed(seed)

    def choose(self, logits: Tensor, answer: Sequence[int]) -> Tensor:
        """Picks a token ``()`` from logits ``(V,)`` after the new ids so far."""
        logits = logits.clone()
        if self._presence or self._frequency:
            for token, count in Counter(answer).items():
                logits[token] -= self._presence + self._frequency * count
        for token, bias in self._bias.items():
            logits[token] += bias
        if len(answer) < self._min:
            logits[self._end_ids] = -torch.inf
        ids = torch.tensor([answer], dtype=torch.long, device=logits.device)
        scores = self._process(ids, logits[None])
        if not self.config.do_sample:
            return scores.argmax(-1)[0]
        return torch.multinomial(scores.softmax(-1), 1, generator=self._generator)[0, 0]


def _number(name: str, value: Any) -> float:
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -2 <= value <= 2:
        raise ConfigError(f'{name} is {value!r}, expected a number from -2 to 2.')
    return float(value)


def _bias(value: Any, vocab_size: int) -> dict[int, float]:
    try:
        bias = {int(token): float(added) for token, added in dict(value or {}).items()}
    except (TypeError, ValueError):
        bias = {-1: 0.0}
    if any(not 0 <= token < vocab_size or not -100 <= b <= 100 for token, b in bias.items()):
        raise ConfigError(
            f'logit_bias is {value!r}, expected token ids from 0 to {vocab_size - 1}, each with a '
            'number from -100 to 100.'
        )
    return bias
