"""Low-rank adapters in the language model, by PEFT. The only file that knows it."""

from typing import Any

from torch import nn

from mmllava.errors import ConfigError

#: What LLaVA's own LoRA training adapts: every linear layer but the output's.
TARGETS = ('q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj')


def add_lora(lm: nn.Module, r: int, alpha: int, dropout: float = 0.0) -> None:
    """Puts adapters into a language model, in place; nothing else of it is trained.

    Args:
        lm: transformers' model.
        r: rank of an adapter.
        alpha: an adapter is scaled by ``alpha / r``.
        dropout: of an adapter's input.

    Raises:
        ConfigError: peft is not installed, or does not take these numbers.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ConfigError(
            f"stage.lora needs peft, which is not here ({error}). Run pip install 'mmllava[lora]', "
            'or leave lora out.'
        ) from error
    try:
        config = LoraConfig(
            r=r, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(TARGETS), bias='none'
        )
        # Asked of the model, not of its layers. 8 bits are not trained beside.
        lm.is_loaded_in_4bit = any(type(m).__name__ == 'Linear4bit' for m in lm.modules())
        # On meta too: else 500 million random numbers are drawn, and thrown away.
        inject_adapter_in_model(config, lm, low_cpu_mem_usage=next(lm.parameters()).is_meta)
    except ValueError as error:
        raise ConfigError(f'lora=dict(r={r}, alpha={alpha}, ...) does not work: {error}') from error
    lm.adapter_settings = dict(r=r, lora_alpha=alpha, lora_dropout=dropout)


def is_adapter(name: str) -> bool:
    """Tells whether a parameter belongs to an adapter."""
    return '.lora_A.' in name or '.lora_B.' in name


def plain_name(name: str) -> str:
    """The name that a parameter has, or an adapter has in PEFT's files, without our wrapping."""
    return name.replace('.base_layer.', '.').replace('.default.', '.')


def adapter_config(lm: nn.Module) -> dict[str, Any] | None:
    """Makes PEFT's ``adapter_config.json`` for our adapters; None without any."""
    settings = getattr(lm, 'adapter_settings', None)
    if settings is None:
        return None
    return dict(
        peft_type='LORA',
        task_type='CAUSAL_LM',
        target_modules=list(TARGETS),
        bias='none',
        inference_mode=True,
        **settings,
    )
