"""What a user may set for a generation, checked, as transformers holds it."""

from typing import Any

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    StoppingCriteria,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from mmllava.errors import ConfigError, unknown_name

#: What a user may set for a generation, in a config or in a call.
GENERATION_SETTINGS = frozenset(
    name for name in vars(GenerationConfig()) if not name.startswith(('_', 'return_', 'output_'))
) - {'num_return_sequences', 'bos_token_id', 'eos_token_id', 'pad_token_id'}
#: What `LanguageModel.steps` follows; transformers' loop knows more.
STEPPED = frozenset(
    [
        'max_new_tokens',
        'num_beams',
        'do_sample',
        'temperature',
        'top_k',
        'top_p',
        'repetition_penalty',
    ]
) | {'length_penalty'}  # of beams: it changes nothing in a loop without


def generation_config(settings: dict[str, Any], tokenizer: Any, num_rows: int) -> GenerationConfig:
    """transformers' settings object; the tokenizer's ids, never those of a ``config.json``.

    Raises:
        ConfigError: a name or a value that ``GenerationConfig`` does not take.
    """
    for name in settings:
        if name not in GENERATION_SETTINGS:
            raise unknown_name('generation setting', name, GENERATION_SETTINGS)
    if settings.get('do_sample'):  # transformers 4's default, in LLaVA's time; 5 has none
        settings = dict(dict(top_k=50), **settings)
    # A [PAD] beyond the matrix (13B-v0 has one) would be embedded when a row is done.
    pad = tokenizer.pad_id if tokenizer.pad_id < num_rows else tokenizer.eos_id
    beams = settings.get('num_beams')
    if beams is not None and not (type(beams) is int and beams >= 1):
        raise ConfigError(f'num_beams is {beams!r}, expected a whole number from 1 on.')
    try:
        config = GenerationConfig(
            bos_token_id=tokenizer.bos_id,
            eos_token_id=tokenizer.eos_id,
            pad_token_id=pad,
            **settings,
        )
        warpers(config)  # they look at the values
    except (ValueError, TypeError) as error:
        raise ConfigError(f'generation settings {settings} do not work: {error}') from error
    return config


def warpers(config: GenerationConfig) -> LogitsProcessorList:
    """What changes the logits before a token is chosen, in transformers' order."""
    steps = LogitsProcessorList()
    if config.repetition_penalty not in (None, 1.0):
        steps.append(RepetitionPenaltyLogitsProcessor(config.repetition_penalty))
    if not config.do_sample:
        return steps
    if config.temperature not in (None, 1.0):
        steps.append(TemperatureLogitsWarper(config.temperature))
    if config.top_k:
        steps.append(TopKLogitsWarper(config.top_k))
    if config.top_p not in (None, 1.0):
        steps.append(TopPLogitsWarper(config.top_p))
    return steps


class StopText(StoppingCriteria):
    """Ends a row when its new text holds the stop text."""

    def __init__(self, stop: str, tokenizer: Any) -> None:
        self.stop, self.tokenizer = stop, tokenizer

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        found = [self.stop in self.tokenizer.decode(ids) for ids in input_ids.tolist()]
        return torch.tensor(found, device=input_ids.device)
