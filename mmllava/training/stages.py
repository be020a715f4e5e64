"""Freezes and trains the parts of a model that the config's ``stage`` names."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from mmllava.errors import ConfigError, unknown_name
from mmllava.models.weights import load_start
from mmllava.structures import IMAGE_TOKENS
from mmllava.training.lora import add_lora

#: What ``stage.train`` may name.
PARTS = ('projector', 'language', 'tower', 'image_tokens')
_EMBEDDING = 'language.lm.model.embed_tokens.weight'


@dataclass(frozen=True)
class Stage:
    """Settings of a training run: which parts are trained, and how.

    Args:
        train: of `PARTS`. ``projector`` includes v1.6's newline. ``tower`` is its blocks
            up to the one that is read. ``image_tokens`` are the rows of ``<im_start>`` and
            ``<im_end>`` in the word embeddings; no other row moves.
        lora: ``r``, ``alpha`` and ``dropout`` of adapters in the language model, which
            itself stays as it is.
        gradient_checkpointing: recomputes the activations of the language model's blocks in
            the backward pass rather than keep them.
    """

    train: tuple[str, ...] = ()
    lora: Mapping[str, Any] | None = None
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        for part in self.train:
            if part not in PARTS:
                raise unknown_name('part of stage.train', part, PARTS)
        if self.lora and {'language', 'image_tokens'} & set(self.train):
            raise ConfigError(
                f'stage.train={list(self.train)} with stage.lora: LoRA keeps the language model as '
                "it is. Leave out 'language' and 'image_tokens', or lora."
            )
        if not self.train and not self.lora:
            raise ConfigError(f'stage trains nothing. Name some of {", ".join(PARTS)}, or lora.')


def read_stage(config: Mapping[str, Any] | None) -> Stage:
    """The stage of a config.

    Raises:
        ConfigError: there is none, or a setting or a part that does not exist.
    """
    if config is None:
        raise ConfigError(
            "the config has no stage. Say what is trained: stage = dict(train=['projector'])."
        )
    for name in config:
        if name not in Stage.__dataclass_fields__:
            raise unknown_name('setting of stage', name, Stage.__dataclass_fields__)
    config = dict(config)
    return Stage(**{**config, 'train': tuple(config.get('train', ()))})


def load_weights(model: nn.Module) -> None:
    """Gives a model the weights that training begins with.

    ``init_cfg``'s checkpoint; else the language model of ``lang_encoder.pretrained`` and a
    new projector; else random ones.
    """
    checkpoint = (model.init_cfg or {}).get('checkpoint')
    if checkpoint is not None:
        model.load_weights(checkpoint, for_training=True)
    elif model.language.pretrained is not None:
        load_start(model, model.dtype)
        model.vision_tower.rebuild_buffers()
        model.language.rebuild_buffers()
    else:
        model.init_weights()


def apply(model: nn.Module, stage: Stage, device: str, hold: bool = True) -> None:
    """Freezes, adds adapters, and holds in float32 what is trained.

    Args:
        model: a `Llava` with weights.
        stage: of the config.
        device: where it will run, ``cpu`` or ``cuda``: decides the dtype of what is frozen
            where the config does not.
        hold: False leaves it to the caller to call `cast_trainable_to_fp32`.

    Raises:
        ConfigError: ``image_tokens`` of a model that has none, or packed weights cannot learn.
    """
    model.cast_to_compute_dtype(device)
    if model.bits:
        _check_packed(model.bits, stage)
        model.quantize(device)
    model.requires_grad_(False)
    if stage.lora:
        add_lora(model.language.lm, **stage.lora)
    for part in stage.train:
        for _, parameter in parameters_of(model, part):
            parameter.requires_grad_(True)
    if 'image_tokens' in stage.train and 'language' not in stage.train:
        _hold_other_rows(model)
    if hold:
        cast_trainable_to_fp32(model)
    model.mixed = True
    if stage.gradient_checkpointing:
        # mmengine's own switch passes no keyword arguments on, which transformers needs.
        model.language.lm.gradient_checkpointing_enable(dict(use_reentrant=False))


def _check_packed(bits: int, stage: Stage) -> None:
    if bits != 4 or 'language' in stage.train:
        raise ConfigError(
            f'model.bits={bits} with stage.train={list(stage.train)}: packed weights cannot learn, '
            'and to train beside them only 4 bits are known to work. Set bits=4 and stage.lora, '
            'or leave bits out.'
        )


def cast_trainable_to_fp32(module: nn.Module) -> None:
    """Copies the trained parameters to float32; as loaded, they are mapped pages of their file."""
    for parameter in module.parameters():
        if parameter.requires_grad and not isinstance(parameter, DTensor):
            parameter.data = parameter.data.float().clone()


def parameters_of(model: nn.Module, part: str) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters of one of `PARTS`, with their names.

    Blocks of the tower after the one that is read get no gradient, and several
    processes would wait for it for ever; they are no part of ``tower`` here.
    """
    unread = tuple(
        f'vision_tower.layers.{k}.'
        for k in range(model.vision_tower.num_read, len(model.vision_tower.layers))
    )
    heads = dict(
        projector=('projector.', 'image_newline'),
        language=('language.',),
        tower=('vision_tower.',),
        image_tokens=(_EMBEDDING,),
    )[part]
    for name, parameter in model.named_parameters():
        if name.startswith(heads) and not name.startswith(unread):
            yield name, parameter


def _hold_other_rows(model: nn.Module) -> None:
    """Only the image words' rows of the embedding get a gradient, as in the original's v0."""
    extra = model.prompt_builder.extra_tokens
    ids = [model.tokenizer.token_id(word) for word in extra if word in IMAGE_TOKENS]
    if not ids:
        raise ConfigError(
            'stage.train has image_tokens, and the model has none. Set '
            'model.use_im_start_end=True, or leave them out.'
        )
    weight = dict(model.named_parameters())[_EMBEDDING]

    def keep(gradient: Tensor) -> Tensor:
        kept = torch.zeros_like(gradient)
        kept[ids] = gradient[ids]
        return kept

    weight.register_hook(keep)
    model.held = {_EMBEDDING}  # weight decay would move every row


def describe(model: nn.Module) -> str:
    """A table: each part's parameters, how many of them are trained, and their dtypes."""
    lines = [f'{"part":<12}{"parameters":>16}{"trained":>16}  dtype']
    total = trained = 0
    for part, name in (
        ('tower', 'vision_tower'),
        ('projector', 'projector'),
        ('language', 'language'),
        ('newline', 'image_newline'),
    ):
        own = [p for n, p in model.named_parameters() if n.split('.')[0] == name]
        if not own:
            continue
        count = sum(_numbers(p) for p in own)
        learn = sum(_numbers(p) for p in own if p.requires_grad)
        kinds = sorted({str(p.dtype).removeprefix('torch.') for p in own})
        lines.append(f'{part:<12}{count:>16,}{learn:>16,}  {", ".join(kinds)}')
        total, trained = total + count, trained + learn
    lines.append(f'{"all":<12}{total:>16,}{trained:>16,}  {100 * trained / total:.3f} % trained')
    return 'What is trained:\n' + '\n'.join(lines)


def _numbers(parameter: nn.Parameter) -> int:
    """Counts the numbers of a parameter; where bitsandbytes packed them, before that."""
    state = getattr(parameter, 'quant_state', None)
    return parameter.numel() if state is None else state.shape.numel()
