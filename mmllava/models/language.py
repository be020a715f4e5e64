"""Floor 2. The language model: transformers' own, fed with embeddings."""

from pathlib import Path
from typing import Any

import torch
import transformers
from mmengine.logging import print_log
from torch import Tensor, nn
from transformers import (
    DynamicCache,
    GenerationConfig,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    StoppingCriteria,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from mmllava.errors import ConfigError, PromptError, unknown_name
from mmllava.models.sources import pick_sizes, read_config
from mmllava.registry import MODELS
from mmllava.structures import IGNORE_INDEX

FAMILIES = {  # names, not classes: a family is imported when it is built
    'llama': ('LlamaConfig', 'LlamaForCausalLM'),
    'mistral': ('MistralConfig', 'MistralForCausalLM'),
}
# What LLaVA's own config.json calls the same families.
_MODEL_TYPES = {'llava': 'llama', 'llava_llama': 'llama', 'llava_mistral': 'mistral'}
_SIZES = (
    'vocab_size',
    'hidden_size',
    'intermediate_size',
    'num_hidden_layers',
    'num_attention_heads',
)
#: What a user may set for a generation, in a config or in a call.
GENERATION_SETTINGS = frozenset(
    name for name in vars(GenerationConfig()) if not name.startswith(('_', 'return_', 'output_'))
) - {'num_return_sequences', 'bos_token_id', 'eos_token_id', 'pad_token_id'}
_OPTIONAL = (
    'num_key_value_heads',
    'max_position_embeddings',
    'rms_norm_eps',
    'rope_theta',
    'rope_scaling',
    'hidden_act',
    'attention_bias',
    'sliding_window',
)


@MODELS.register_module()
class LanguageModel(nn.Module):
    """A decoder-only language model that reads embeddings.

    Args:
        name_or_path: local folder or hub id whose ``config.json`` gives the
            sizes, in place of the sizes below.
        pretrained: where the weights are if the checkpoint has none of its own.
        model_type: ``llama`` or ``mistral``; read from ``config.json``, or
            ``llama``.
        sizes: ``vocab_size``, ``hidden_size``, ``intermediate_size``,
            ``num_hidden_layers``, ``num_attention_heads``, and what else
            transformers' config of the family takes from a LLaVA checkpoint.
    """

    def __init__(
        self,
        name_or_path: str | Path | None = None,
        pretrained: str | Path | None = None,
        model_type: str | None = None,
        **sizes: Any,
    ) -> None:
        super().__init__()
        for name in sizes:
            if name not in (*_SIZES, *_OPTIONAL):
                raise unknown_name('setting of LanguageModel', name, (*_SIZES, *_OPTIONAL))
        read = read_config(name_or_path) if name_or_path is not None else {}
        model_type = model_type or read.get('model_type', 'llama')
        model_type = _MODEL_TYPES.get(model_type, model_type)
        if model_type not in FAMILIES:
            raise unknown_name('language model', model_type, FAMILIES)
        # Of nulls only this one says something: no window, where transformers' default is 4096.
        window = {k: read[k] for k in ('sliding_window',) if k in read}
        read = {k: read[k] for k in (*_SIZES, *_OPTIONAL) if read.get(k) is not None} | window
        config_class, model_class = (getattr(transformers, n) for n in FAMILIES[model_type])
        self.pretrained = pretrained
        self.sizes = pick_sizes('LanguageModel', sizes, read, _SIZES)
        self.lm = model_class(config_class(**self.sizes))

    @property
    def config(self) -> Any:
        """transformers' config of the model."""
        return self.lm.config

    @property
    def max_tokens(self) -> int:
        """Length of the context, in tokens; a picture takes as many as it has patches."""
        return self.config.max_position_embeddings

    def rebuild_buffers(self) -> None:
        """Makes real what is no parameter, after a build on the meta device."""
        rotary = self.lm.model.rotary_emb
        with torch.device('cpu'):
            self.lm.model.rotary_emb = type(rotary)(config=self.config)

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids ``(...)``, on any device, to embeddings ``(..., D)`` on the model's."""
        words = self.lm.get_input_embeddings()
        # On meta it is offloaded, and accelerate brings weights and ids together.
        return words(ids if words.weight.is_meta else ids.to(words.weight.device))

    def forward(self, embeds: Tensor, mask: Tensor) -> Tensor:
        """Logits ``(B, L, V)`` of embeddings ``(B, L, D)``; ``mask`` ``(B, L)`` is 1 on tokens."""
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        return self.lm(
            inputs_embeds=embeds, attention_mask=mask, position_ids=positions, use_cache=False
        ).logits

    def loss(self, embeds: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
        """Mean cross entropy of the next token over all labelled tokens of the batch."""
        logits = self(embeds, mask)[:, :-1].float()
        return nn.functional.cross_entropy(
            logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORE_INDEX
        )

    @torch.no_grad()
    def generate(
        self,
        embeds: Tensor,
        mask: Tensor,
        tokenizer: Any,
        settings: dict[str, Any],
        stop: str | None = None,
    ) -> list[list[int]]:
        """New token ids of each row, after left-padded ``embeds`` ``(B, L, D)``.

        Args:
            embeds: embeddings of the prompts.
            mask: ``(B, L)``, 1 on tokens and 0 on padding.
            tokenizer: gives the ids that start, end and fill a row.
            settings: keyword arguments of ``GenerationConfig``.
            stop: text that ends an answer, besides the tokenizer's end-of-text;
                it and what follows may be among the ids.

        Raises:
            ConfigError: a setting that ``GenerationConfig`` does not know.
        """
        config = generation_config(settings, tokenizer, self.config.vocab_size)
        end = tokenizer.find(stop) if stop else None
        criteria = [_StopText(stop, tokenizer)] if stop and end is None else None
        if end is not None:
            config.eos_token_id = [tokenizer.eos_id, end]
        out = self.lm.generate(
            inputs_embeds=embeds,
            attention_mask=mask,
            generation_config=config,
            stopping_criteria=criteria,
        )
        return out.tolist()

    def limit_tokens(self, settings: dict[str, Any], length: int) -> dict[str, Any]:
        """Generation settings with as many new tokens as the context has room for.

        Args:
            settings: keyword arguments of ``GenerationConfig``.
            length: tokens of the prompt, pictures included.

        Raises:
            PromptError: the prompt alone fills the context.
        """
        context = self.max_tokens
        if length >= context:
            raise PromptError(
                f'the prompt takes {length} tokens, pictures included, and the context is '
                f'{context}. Ask a shorter question.'
            )
        room, wanted = context - length, settings.get('max_new_tokens')
        if wanted is not None and wanted < 1:
            raise ConfigError(f'max_new_tokens is {wanted}, expected 1 or more.')
        if wanted and wanted > room:
            print_log(
                f'max_new_tokens={wanted} is limited to {room}: the prompt takes {length} of '
                f'{context} tokens.',
                logger='current',
            )
        return {**settings, 'max_new_tokens': min(wanted or room, room)}

    def new_cache(self) -> DynamicCache:
        """An empty store of keys and values, for `extend`."""
        return DynamicCache()

    @torch.no_grad()
    def extend(self, embeds: Tensor, cache: DynamicCache) -> Tensor:
        """Logits ``(1, V)`` after embeddings ``(1, L, D)`` that follow what the cache holds."""
        start = cache.get_seq_length()
        positions = torch.arange(start, start + embeds.shape[1], device=embeds.device)
        out = self.lm(
            inputs_embeds=embeds,
            position_ids=positions[None],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return out.logits[:, -1].float()


def generation_config(settings: dict[str, Any], tokenizer: Any, num_rows: int) -> GenerationConfig:
    """transformers' settings object; the tokenizer's ids, never those of a ``config.json``.

    Raises:
        ConfigError: a name or a value that ``GenerationConfig`` does not take.
    """
    for name in settings:
        if name not in GENERATION_SETTINGS:
            raise unknown_name('generation setting', name, GENERATION_SETTINGS)
    # A [PAD] beyond the matrix (13B-v0 has one) would be embedded when a row is done.
    pad = tokenizer.pad_id if tokenizer.pad_id < num_rows else tokenizer.eos_id
    try:
        return GenerationConfig(
            bos_token_id=tokenizer.bos_id,
            eos_token_id=tokenizer.eos_id,
            pad_token_id=pad,
            **settings,
        )
    except (ValueError, TypeError) as error:
        raise ConfigError(f'generation settings {settings} do not work: {error}') from error


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


class _StopText(StoppingCriteria):
    """Ends a row when its new text holds the stop text."""

    def __init__(self, stop: str, tokenizer: Any) -> None:
        self.stop, self.tokenizer = stop, tokenizer

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        found = [self.stop in self.tokenizer.decode(ids) for ids in input_ids.tolist()]
        return torch.tensor(found, device=input_ids.device)
