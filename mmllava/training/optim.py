"""Rates: for each part of the model, and over time."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper, _ParamScheduler
from torch import nn

from mmllava.errors import ConfigError, unknown_name
from mmllava.registry import (
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
)

_SETTINGS = ('projector_lr', 'tower_lr')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class PartwiseOptimConstructor:
    """An optimizer over what is trained, with a rate for each part.

    Norms and biases have no weight decay, as in the original (Hugging Face's Trainer).

    Args:
        optim_wrapper_cfg: mmengine's, with ``optimizer``.
        paramwise_cfg: ``projector_lr`` and ``tower_lr``, where they differ from the
            optimizer's ``lr``.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        self.rates = dict(paramwise_cfg or {})
        for name in self.rates:
            if name not in _SETTINGS:
                raise unknown_name('setting of paramwise_cfg', name, _SETTINGS)
        self.config = dict(optim_wrapper_cfg)

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Builds the wrapper.

        Raises:
            ConfigError: nothing is trained.
        """
        model = model.module if is_model_wrapper(model) else model
        config = dict(self.config)
        optimizer = dict(config.pop('optimizer'))
        groups = self._groups(model, optimizer['lr'], optimizer.get('weight_decay', 0.0))
        optimizer = OPTIMIZERS.build(dict(optimizer, params=groups))
        config.setdefault('type', 'OptimWrapper')
        return OPTIM_WRAPPERS.build(dict(config, optimizer=optimizer))

    def _groups(self, model: nn.Module, lr: float, decay: float) -> list[dict[str, Any]]:
        rates = dict(
            projector=self.rates.get('projector_lr', lr),
            vision_tower=self.rates.get('tower_lr', lr),
            image_newline=self.rates.get('projector_lr', lr),
        )
        plain = _without_decay(model)
        groups: dict[tuple[float, float], dict[str, Any]] = {}
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            rate = rates.get(name.split('.')[0], lr)
            own = 0.0 if name in plain else decay
            group = groups.setdefault((rate, own), dict(params=[], lr=rate, weight_decay=own))
            group['params'].append(parameter)
        if not groups:
            raise ConfigError('no parameter is trained. Name some in the stage.')
        return list(groups.values())


def _without_decay(model: nn.Module) -> set[str]:
    """Biases, what belongs to a norm, and embeddings of which most rows must not move."""
    names = {name for name, _ in model.named_parameters() if name.endswith('bias')}
    names |= getattr(model, 'held', set())
    for place, module in model.named_modules():
        if type(module).__name__.endswith('Norm'):
            names |= {f'{place}.{name}' for name, _ in module.named_parameters(recurse=False)}
    return names


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Computes in bfloat16 where autocast says so; weights, gradients and sums in float32.

    mmengine's ``AmpOptimWrapper`` does it on a GPU only, and scales the loss, which
    bfloat16 does not need. For float16 take that one.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Returns the context that a forward pass runs in."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16):
            yield


@PARAM_SCHEDULERS.register_module()
class WarmupCosineLR(_ParamScheduler):
    """From 0 up in a straight line, then half a cosine down to 0; a value for each step.

    Step s of T, W of them to warm up: rate * s / W, then rate * (1 + cos(pi * (s - W) /
    (T - W))) / 2. The first step has rate 0. Source: transformers'
    ``get_cosine_schedule_with_warmup``, as LLaVA calls it.

    Args:
        optimizer: an optimizer or mmengine's wrapper.
        ratio: W / T; W is rounded up.
        end: T; the runner fills in the run's number of steps.
        by_epoch: False, written in the config: mmengine takes True where it is left out.
        last_step: mmengine's.
    """

    def __init__(
        self,
        optimizer: Any,
        ratio: float = 0.03,
        end: int = 1,
        by_epoch: bool = True,
        last_step: int = -1,
    ) -> None:
        if by_epoch:
            raise ConfigError('WarmupCosineLR counts steps. Write by_epoch=False in the config.')
        if not 0 <= ratio < 1:
            raise ConfigError(f'WarmupCosineLR has ratio={ratio}, expected 0 <= ratio < 1.')
        self.total, self.warmup = end, math.ceil(end * ratio)
        super().__init__(optimizer, 'lr', begin=0, end=end + 1, last_step=last_step, by_epoch=False)

    def factor(self, step: int) -> float:
        """Returns the factor of the learning rate at a step; the first is 0."""
        if step < self.warmup:
            return step / max(1, self.warmup)
        share = (step - self.warmup) / max(1, self.total - self.warmup)
        return max(0.0, (1 + math.cos(math.pi * share)) / 2)

    def _get_value(self) -> list[float]:
        return [base * self.factor(self.last_step) for base in self.base_values]
