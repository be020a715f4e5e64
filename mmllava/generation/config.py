"""Checks generation settings and turns them into transformers' objects."""

from typing import Any

from transformers import (
    GenerationConfig,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from mmllava.errors import ConfigError, unknown_name

#: What a config or a call may set.
GENERATION_SETTINGS = frozenset(
    name for name in vars(GenerationConfig()) if not name.startswith(('_', 'return_', 'output_'))
) - {'num_return_sequences', 'bos_token_id', 'eos_token_id', 'pad_token_id'}
#: What `mmllava.generation.loop` follows; transformers' ``generate`` knows more.
LOOP_SETTINGS = frozenset(
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


def generation_config(
    settings: dict[str, Any], tokenizer: Any, vocab_size: int
) -> GenerationConfig:
    """Builds transformers' settings object, with the tokenizer's ids, never a ``config.json``'s.

    Args:
        settings: keyword arguments of ``GenerationConfig``.
        tokenizer: gives the ids that start, end and fill an answer.
        vocab_size: of the token embedding.

    Raises:
        ConfigError: a name or a value that ``GenerationConfig`` does not take.
    """
    for name in settings:
        if name not in GENERATION_SETTINGS:
            raise unknown_name('generation setting', name, GENERATION_SETTINGS)
    if settings.get('do_sample'):  # transformers 4's default, in LLaVA's time; 5 has none
        settings = dict(dict(top_k=50), **settings)
    # A [PAD] beyond the embedding (13B-v0 has one) would be embedded once an entry has ended.
    pad = tokenizer.pad_id if tokenizer.pad_id < vocab_size else tokenizer.eos_id
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
        logits_processors(config)  # they check the values
    except (ValueError, TypeError) as error:
        raise ConfigError(f'generation settings {settings} do not work: {error}') from error
    return config


def logits_processors(config: GenerationConfig) -> LogitsProcessorList:
    """Lists what changes the logits before a token is chosen, in transformers' order."""
    processors = LogitsProcessorList()
    if config.repetition_penalty not in (None, 1.0):
        processors.append(RepetitionPenaltyLogitsProcessor(config.repetition_penalty))
    if not config.do_sample:
        return processors
    if config.temperature not in (None, 1.0):
        processors.append(TemperatureLogitsWarper(config.temperature))
    if config.top_k:
        processors.append(TopKLogitsWarper(config.top_k))
    if config.top_p not in (None, 1.0):
        processors.append(TopPLogitsWarper(config.top_p))
    return processors


def fits_loop(settings: dict[str, Any]) -> bool:
    """Tells whether `mmllava.generation.loop` follows all settings, which means one beam."""
    return set(settings) <= LOOP_SETTINGS and settings.get('num_beams', 1) == 1


def check_streamable(settings: dict[str, Any]) -> None:
    """Refuses settings that a streamed answer would not follow.

    Raises:
        ConfigError: names them, and where they work.
    """
    for name in sorted(set(settings) - LOOP_SETTINGS):
        if name not in GENERATION_SETTINGS:
            raise unknown_name('generation setting', name, LOOP_SETTINGS)
        raise ConfigError(
            f'{name}={settings[name]!r}: a streamed answer follows '
            f'{", ".join(sorted(LOOP_SETTINGS))} only. Leave it out, or use inference_model.'
        )
    if settings.get('num_beams', 1) != 1:
        raise ConfigError(
            f'num_beams={settings["num_beams"]}: beams cannot be streamed. Use num_beams=1, '
            'or inference_model for one answer.'
        )
