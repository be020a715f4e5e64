"""The language model in 8 or 4 bits, through bitsandbytes.

Only the linear layers of its blocks: tower, projector, embeddings, norms and
``lm_head`` keep their half precision, so an image's features and the choice
among words stay what they were.
"""

from types import ModuleType

import torch
from torch import nn

from mmllava.errors import ConfigError, unknown_name
from mmllava.models.language import LanguageModel

#: bits -> how bitsandbytes is asked. 4 as LLaVA's loader does: nf4, its scales quantised too.
BITS = (4, 8)


def check_bits(bits: int | None) -> None:
    """Refuses a number of bits that cannot be had, before any weight is read.

    Raises:
        ConfigError: neither 4 nor 8, or bitsandbytes is not installed.
    """
    if bits is None:
        return
    if bits not in BITS:
        raise unknown_name('number of bits', str(bits), map(str, BITS))
    _bitsandbytes()


def quantize(language: LanguageModel, bits: int, compute_dtype: torch.dtype) -> None:
    """Puts bitsandbytes' layers in the place of the linear ones, in every block.

    The weights stay as they are until the model is moved to a device; there each
    layer is quantised as it arrives, so that the whole model is never on the device.

    Args:
        language: with weights.
        bits: 4 or 8.
        compute_dtype: in which a layer multiplies.

    Raises:
        ConfigError: as `check_bits`.
    """
    check_bits(bits)
    bnb = _bitsandbytes()
    for block in language.lm.model.layers:
        linears = [(n, m) for n, m in block.named_modules() if isinstance(m, nn.Linear)]
        for name, linear in linears:
            parent, _, child = name.rpartition('.')
            packed = _four(bnb, linear, compute_dtype) if bits == 4 else _eight(bnb, linear)
            if linear.bias is not None:
                packed.bias = nn.Parameter(linear.bias.to(compute_dtype), requires_grad=False)
            setattr(block.get_submodule(parent), child, packed)


def is_quantized(language: LanguageModel) -> bool:
    """Tells whether the blocks have bitsandbytes' layers."""
    modules = language.lm.model.layers.modules()
    return any(type(module).__module__.startswith('bitsandbytes.') for module in modules)


def _four(bnb: ModuleType, linear: nn.Linear, compute_dtype: torch.dtype) -> nn.Module:
    made = bnb.nn.Linear4bit(
        linear.in_features,
        linear.out_features,
        bias=linear.bias is not None,
        compute_dtype=compute_dtype,
        compress_statistics=True,
        quant_type='nf4',
        device='meta',
    )
    made.weight = bnb.nn.Params4bit(
        linear.weight.data.to(compute_dtype),
        requires_grad=False,
        compress_statistics=True,
        quant_type='nf4',
        module=made,
    )
    return made


def _eight(bnb: ModuleType, linear: nn.Linear) -> nn.Module:
    made = bnb.nn.Linear8bitLt(
        linear.in_features,
        linear.out_features,
        bias=linear.bias is not None,
        has_fp16_weights=False,
        threshold=6.0,  # columns with larger values stay in half precision; bitsandbytes' advice
        device='meta',
    )
    made.weight = bnb.nn.Int8Params(
        linear.weight.data.to(torch.float16), requires_grad=False, has_fp16_weights=False
    )
    return made


def _bitsandbytes() -> ModuleType:
    try:
        import bitsandbytes
    except ImportError as error:
        raise ConfigError(
            'bits=4 and bits=8 need bitsandbytes, which is not installed. Run '
            "`pip install 'mmllava[quantize]'`, or leave bits out."
        ) from error
    return bitsandbytes
