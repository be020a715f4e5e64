"""The language model: transformers' own, fed with embeddings."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from mmengine.logging import print_log
from torch import Tensor, nn
from transformers import (
    DynamicCache,
    GenerationConfig,
)

from mmllava.errors import ConfigError, PromptError, unknown_name
from mmllava.generation.config import STEPPED, StopText, generation_config, warpers
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
        read = plain_rope(read_config(name_or_path)) if name_or_path is not None else {}
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
        if self.sizes['hidden_size'] % self.sizes['num_attention_heads']:
            raise ConfigError(
                f'hidden_size {self.sizes["hidden_size"]} cannot be divided among '
                f'{self.sizes["num_attention_heads"]} attention heads. One of the two is wrong.'
            )
        # A copy: transformers writes into rope_scaling.
        self.lm = model_class(config_class(**copy.deepcopy(self.sizes)))

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

    def forward(
        self,
        embeds: Tensor,
        mask: Tensor | None,
        positions: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> Tensor:
        """Logits ``(B, L, V)`` of embeddings ``(B, L, D)``; ``mask`` ``(B, L)`` is 1 on tokens.

        With ``positions`` ``(1, L)`` one row holds several samples, which do not see each
        other; each begins at position 0. With ``keep`` ``(K,)`` the logits are those of these
        columns alone, ``(B, K, V)``.
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
        """Mean cross entropy of the next token over all labelled tokens; see `forward`.

        Of a packed row the labelled tokens alone get logits, which are most of a step's memory
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
        """New token ids of each row, after left-padded ``embeds`` ``(B, L, D)``.

        Each row has the room that the context leaves it. Greedy and sampled answers
        come from `steps`; beams and rarer settings from transformers' own loop.

        Args:
            embeds: embeddings of the prompts.
            mask: ``(B, L)``, 1 on tokens and 0 on padding.
            tokenizer: gives the ids that start, end and fill a row.
            settings: keyword arguments of ``GenerationConfig``.
            stop: text that ends an answer, besides the tokenizer's end-of-text;
                it and what follows may be among the ids.

        Raises:
            ConfigError: a setting that ``GenerationConfig`` does not know.
            PromptError: a prompt alone fills the context.
        """
        lengths = mask.sum(1).tolist()
        limits = [self.limit_tokens(settings, length) for length in lengths]
        if set(settings) <= STEPPED and settings.get('num_beams', 1) == 1:
            rooms = [limit['max_new_tokens'] for limit in limits]
            return self._generate_by_steps(embeds, mask, tokenizer, limits[0], rooms, stop)
        # transformers knows one limit for all rows; and from version 5 on its repetition
        # penalty forgets as many new tokens of a row as the row has padding.
        penalty = settings.get('repetition_penalty', 1.0) != 1.0 and len(set(lengths)) > 1
        if not penalty and all(limit == limits[0] for limit in limits):
            return self.generate_by_transformers(embeds, mask, tokenizer, limits[0], stop)
        rows = [(embeds[k : k + 1, -n:], mask[k : k + 1, -n:]) for k, n in enumerate(lengths)]
        return [
            self.generate_by_transformers(*row, tokenizer, limit, stop)[0]
            for row, limit in zip(rows, limits, strict=True)
        ]

    def _generate_by_steps(
        self,
        embeds: Tensor,
        mask: Tensor,
        tokenizer: Any,
        settings: dict[str, Any],
        rooms: list[int],
        stop: str | None,
    ) -> list[list[int]]:
        """`generate` in our own loop; a row that has ended waits for the others."""
        config = generation_config(settings, tokenizer, self.config.vocab_size)
        ends = {tokenizer.eos_id, tokenizer.find(stop) if stop else None}
        text_stop = stop if stop and tokenizer.find(stop) is None else None
        answers: list[list[int]] = [[] for _ in rooms]
        waiting = list(range(len(rooms)))
        padded = mask if not mask.all() else None
        for tokens in self.steps(embeds, self.new_cache(), config, padded):
            chosen = tokens.tolist()
            for row in list(waiting):
                answer = answers[row]
                answer.append(chosen[row])
                ended = chosen[row] in ends or len(answer) >= rooms[row]
                if ended or (text_stop and text_stop in tokenizer.decode(answer)):
                    waiting.remove(row)
            if not waiting:
                break
        return answers

    @torch.no_grad()
    def generate_by_transformers(
        self,
        embeds: Tensor,
        mask: Tensor,
        tokenizer: Any,
        settings: dict[str, Any],
        stop: str | None = None,
    ) -> list[list[int]]:
        """`generate` in transformers' loop, which knows every setting; one limit for all rows."""
        config = generation_config(settings, tokenizer, self.config.vocab_size)
        end = tokenizer.find(stop) if stop else None
        criteria = [StopText(stop, tokenizer)] if stop and end is None else None
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
        if wanted is not None and not (type(wanted) is int and wanted >= 1):
            raise ConfigError(f'max_new_tokens is {wanted!r}, expected a whole number from 1 on.')
        if wanted and wanted > room:
            print_log(
                f'max_new_tokens={wanted} is limited to {room}: the prompt takes {length} of '
                f'{context} tokens.',
                logger='current',
            )
        return {**settings, 'max_new_tokens': min(wanted or room, room)}

    def new_cache(self) -> DynamicCache:
        """An empty store of keys and values, for `steps`."""
        return DynamicCache()

    def steps(
        self,
        embeds: Tensor,
        cache: DynamicCache,
        config: GenerationConfig,
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Iterator[Tensor]:
        """Yields the next token of each row, ``(B,)``, without end.

        A token is fed when the next one is asked for: the cache then holds the
        prompts and all tokens yielded but the last.

        Args:
            embeds: ``(B, L, D)``: what follows the positions that the cache holds.
            cache: grown in place.
            config: from `generation_config`; one beam.
            mask: ``(B, held + L)``, 0 on padding on the left; None if there is none.
            generator: makes sampling repeatable; None uses torch's own.
        """
        warp = warpers(config)
        ids = torch.empty((len(embeds), 0), dtype=torch.long, device=embeds.device)
        while True:
            scores = warp(ids, self.extend(embeds, cache, mask))
            token = _choose(scores, config.do_sample, generator)
            yield token
            ids = torch.cat([ids, token[:, None]], dim=1)
            embeds = self.embed(token[:, None])
            if mask is not None:
                mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)

    @torch.no_grad()
    def extend(self, embeds: Tensor, cache: DynamicCache, mask: Tensor | None = None) -> Tensor:
        """Logits ``(B, V)``, float32, after ``embeds`` ``(B, L, D)``; see `steps`."""
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
        # Spread over GPUs, the last layer may be on another one than the words.
        return out.logits[:, -1].to(embeds.device, torch.float32)


def _choose(scores: Tensor, sample: bool, generator: torch.Generator | None) -> Tensor:
    if not sample:
        return scores.argmax(-1)
    return torch.multinomial(scores.softmax(-1), 1, generator=generator)[:, 0]
