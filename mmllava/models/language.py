"""Wraps transformers' causal language models, fed with embeddings."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from mmengine.logging import print_log
from torch import Tensor, nn
from transformers import DynamicCache

from mmllava.checkpoints.layouts.config_schema import check_config
from mmllava.errors import ConfigError, PromptError, unknown_name
from mmllava.generation.config import fits_loop, generation_config
from mmllava.generation.loop import decode_batch
from mmllava.generation.slots import SlotCache
from mmllava.generation.stop import StopRule, StopTextCriteria
from mmllava.models.hf_config import pick_sizes, plain_rope, read_config
from mmllava.models.packed_attention import packed_attention_kwargs
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
_UNSTRETCHED = 'original_max_position_embeddings'
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
            ``num_hidden_layers``, ``num_attention_heads``, and the optional settings
            that transformers' config of the family takes from a LLaVA checkpoint.
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
        read = plain_rope(read_config(name_or_path)) if name_or_path is not None else {}
        model_type = model_type or read.get('model_type', 'llama')
        model_type = _MODEL_TYPES.get(model_type, model_type)
        if model_type not in FAMILIES:
            raise unknown_name('language model', model_type, FAMILIES)
        # The only null with a meaning: no window, where transformers' default is 4096.
        window = {k: read[k] for k in ('sliding_window',) if k in read}
        read = {k: read[k] for k in (*_SIZES, *_OPTIONAL) if read.get(k) is not None} | window
        config_class, model_class = (getattr(transformers, n) for n in FAMILIES[model_type])
        self.pretrained = pretrained
        self.sizes = pick_sizes('LanguageModel', sizes, read, _SIZES)
        check_config(self.sizes, 'LanguageModel', ConfigError)
        # A copy: transformers writes into rope_scaling.
        try:
            self.lm = model_class(config_class(**copy.deepcopy(self.sizes)))
        except (ValueError, TypeError, LookupError, StrictDataclassError) as error:
            raise ConfigError(
                f'transformers builds no {model_type} of {self.sizes}: {error}. Correct the '
                'setting in the config, or in config.json.'
            ) from error

    @property
    def config(self) -> Any:
        """transformers' config of the model."""
        return self.lm.config

    @property
    def max_tokens(self) -> int:
        """The length of the context; an image takes as many tokens as it has patches.

        Linear, dynamic and YaRN scaling stretch ``max_position_embeddings`` by their factor;
        the other kinds, and YaRN with ``original_max_position_embeddings``, state the stretched
        length.
        """
        length, scaling = self.config.max_position_embeddings, self.sizes.get('rope_scaling') or {}
        name = scaling.get('rope_type', scaling.get('type'))
        if name in ('linear', 'dynamic', 'yarn') and not scaling.get(_UNSTRETCHED):
            length = int(length * scaling.get('factor', 1))
        return length

    def rebuild_buffers(self) -> None:
        """Recreates non-parameter buffers after construction on the meta device."""
        rotary = self.lm.model.rotary_emb
        with torch.device('cpu'):
            self.lm.model.rotary_emb = type(rotary)(config=self.config)

    def embed(self, ids: Tensor) -> Tensor:
        """Embeds token ids ``(...)``, on any device, to ``(..., D)`` on the model's."""
        table = self.lm.get_input_embeddings()
        # On meta it is offloaded, and accelerate brings weights and ids together.
        return table(ids if table.weight.is_meta else ids.to(table.weight.device))

    def forward(
        self,
        embeds: Tensor,
        mask: Tensor | None,
        positions: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> Tensor:
        """Computes logits ``(B, L, V)`` of embeddings ``(B, L, D)``; ``mask`` is 1 on tokens.

        With ``positions`` ``(1, L)`` one sequence packs several samples, which do not see each
        other; each begins at position 0. With ``keep`` ``(K,)`` only these positions get
        logits, ``(B, K, V)``.
        """
        settings = dict(attention_mask=mask)
        if positions is None:
            positions = (mask.cumsum(-1) - 1).clamp(min=0)
        else:
            settings = packed_attention_kwargs(self.lm, positions)
        if keep is not None:
            settings['logits_to_keep'] = keep
        return self.lm(
            inputs_embeds=embeds, position_ids=positions, use_cache=False, **settings
        ).logits

    def loss(
        self, embeds: Tensor, mask: Tensor, labels: Tensor, positions: Tensor | None = None
    ) -> Tensor:
        """Computes the mean cross entropy of the next token over all labels; see `forward`.

        In a packed sequence only labelled tokens get logits, which are most of a step's memory
        where the vocabulary is large.
        """
        labels, keep = labels[:, 1:].to(embeds.device), None
        if positions is not None:
            keep = (labels[0] != IGNORE_INDEX).nonzero().flatten()
        logits = self(embeds, mask, positions, keep).float()
        logits, labels = (logits[:, :-1], labels) if keep is None else (logits, labels[:, keep])
        return nn.functional.cross_entropy(
            logits.flatten(0, 1), labels.flatten().to(logits.device), ignore_index=IGNORE_INDEX
        )

    def generate(
        self,
        embeds: Tensor,
        mask: Tensor,
        tokenizer: Any,
        settings: dict[str, Any],
        stop: str | None = None,
    ) -> list[list[int]]:
        """Generates new token ids for each batch entry, after left-padded ``embeds`` ``(B, L, D)``.

        Each entry may grow as far as the context allows. Greedy and sampled answers come from
        `mmllava.generation.loop`; beams and rarer settings from transformers' own loop.

        Args:
            embeds: embeddings of the prompts.
            mask: ``(B, L)``, 1 on tokens and 0 on padding.
            tokenizer: gives the ids that start, end and fill an answer.
            settings: keyword arguments of ``GenerationConfig``.
            stop: text that ends an answer, besides the tokenizer's end-of-text;
                it and what follows may be among the ids.

        Raises:
            ConfigError: a setting that ``GenerationConfig`` does not know.
            PromptError: a prompt alone fills the context.
        """
        lengths = mask.sum(1).tolist()
        limits = [self.limit_tokens(settings, length) for length in lengths]
        if fits_loop(settings):
            return decode_batch(
                self,
                embeds,
                self.new_cache(),
                generation_config(limits[0], tokenizer, self.config.vocab_size),
                [limit['max_new_tokens'] for limit in limits],
                StopRule(tokenizer, stop),
                mask if not mask.all() else None,
            )
        # transformers knows one limit for the whole batch; and from version 5 on its repetition
        # penalty forgets as many new tokens of an entry as the entry has padding.
        penalty = settings.get('repetition_penalty', 1.0) != 1.0 and len(set(lengths)) > 1
        if not penalty and all(limit == limits[0] for limit in limits):
            return self.generate_by_transformers(embeds, mask, tokenizer, limits[0], stop)
        entries = [(embeds[k : k + 1, -n:], mask[k : k + 1, -n:]) for k, n in enumerate(lengths)]
        return [
            self.generate_by_transformers(*entry, tokenizer, limit, stop)[0]
            for entry, limit in zip(entries, limits, strict=True)
        ]

    @torch.no_grad()
    def generate_by_transformers(
        self,
        embeds: Tensor,
        mask: Tensor,
        tokenizer: Any,
        settings: dict[str, Any],
        stop: str | None = None,
    ) -> list[list[int]]:
        """Does what `generate` does in transformers' loop: any setting, one limit for the batch."""
        config = generation_config(settings, tokenizer, self.config.vocab_size)
        rule = StopRule(tokenizer, stop)
        config.eos_token_id = list(rule.ids)
        criteria = [StopTextCriteria(rule.text, tokenizer)] if rule.text else None
        out = self.lm.generate(
            inputs_embeds=embeds,
            attention_mask=mask,
            generation_config=config,
            stopping_criteria=criteria,
        )
        return out.tolist()

    def limit_tokens(self, settings: dict[str, Any], length: int) -> dict[str, Any]:
        """Limits ``max_new_tokens`` to the room that the context has after the prompt.

        Args:
            settings: keyword arguments of ``GenerationConfig``.
            length: tokens of the prompt, images included.

        Returns:
            the settings, with ``max_new_tokens``.

        Raises:
            PromptError: the prompt alone fills the context.
        """
        context = self.max_tokens
        if length >= context:
            raise PromptError(
                f'the prompt takes {length} tokens, images included, and the context is '
                f'{context}. Ask a shorter question.'
            )
        room, limit = context - length, settings.get('max_new_tokens')
        if limit is not None and not (type(limit) is int and limit >= 1):
            raise ConfigError(f'max_new_tokens is {limit!r}, expected a whole number from 1 on.')
        if limit and limit > room:
            print_log(
                f'max_new_tokens={limit} is limited to {room}: the prompt takes {length} of '
                f'{context} tokens.',
                logger='current',
            )
        return {**settings, 'max_new_tokens': min(limit or room, room)}

    def new_cache(self) -> DynamicCache:
        """Returns an empty store of keys and values, for `extend`."""
        return DynamicCache()

    @torch.no_grad()
    def extend(self, embeds: Tensor, cache: DynamicCache, mask: Tensor | None = None) -> Tensor:
        """Returns logits ``(B, V)``, float32, after ``embeds`` ``(B, L, D)``; grows the cache.

        Args:
            embeds: what follows the positions that the cache holds.
            cache: from `new_cache`.
            mask: ``(B, cached + L)``, 0 on padding on the left; None if there is none.
        """
        start = cache.get_seq_length()
        if mask is None:
            positions = torch.arange(start, start + embeds.shape[1], device=embeds.device)[None]
        else:
            positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, start:]
        out = self.lm(
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        # Spread over GPUs, the last layer may be on another one than the embedding.
        return out.logits[:, -1].to(embeds.device, torch.float32)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.lm.dtype

    @torch.no_grad()
    def extend_slots(self, embeds: Tensor, cache: SlotCache, slots: Sequence[int]) -> Tensor:
        """Returns logits ``(B, V)``, float32, after ``embeds`` ``(B, L, D)``; grows the slots.

        Args:
            embeds: what follows the positions that each slot holds.
            cache: of the engine.
            slots: see `SlotCache.open`.
        """
        positions, mask = cache.open(slots, embeds.shape[1])
        window = getattr(self.config, 'sliding_window', None)
        if window is not None:
            mask &= torch.arange(mask.shape[-1]) > positions[:, None, :, None] - window
        mask = mask.to(embeds.device)
        if self.config._attn_implementation == 'eager':  # it adds its mask
            lowest = torch.finfo(embeds.dtype).min
            mask = torch.zeros(mask.shape, dtype=embeds.dtype, device=mask.device).masked_fill(
                ~mask, lowest
            )
        out = self.lm(
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=positions.to(embeds.device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return out.logits[:, -1].to(embeds.device, torch.float32)
