"""The language model in 8 and 4 bits."""

import copy
import importlib.util

import pytest
import torch
from torch import nn

from mmllava import get_model
from mmllava.errors import ConfigError
from mmllava.models.quantize import quantize
from tests.conftest import MODELS, tiny_config

with_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec('bitsandbytes') is None, reason='bitsandbytes is not installed'
)


def tiny(checkpoint=MODELS / 'llava-v1.5', **options):
    options = dict(dict(device='cpu'), **options)
    return get_model(tiny_config('v1.5'), pretrained=str(checkpoint), **options)


@pytest.fixture(scope='module')
def model():
    return tiny()


@pytest.fixture(scope='module')
def prompt(model):
    generator = torch.Generator().manual_seed(0)
    return dict(embeds=torch.randn(1, 9, 48, generator=generator), mask=torch.ones(1, 9).long())


def blocks_linears(language):
    return {n: m for n, m in language.lm.model.layers.named_modules() if isinstance(m, nn.Linear)}


@with_bitsandbytes
@pytest.mark.parametrize('bits', [4, 8])
@torch.no_grad()
def test_quantised_blocks_give_what_their_rounded_weights_give(model, prompt, bits):
    """The slow path: the same layers, with the weights that bitsandbytes rounds to."""
    import bitsandbytes.functional as bnb

    packed, plain = copy.deepcopy(model.language), copy.deepcopy(model.language)
    quantize(packed, bits, torch.float32)
    packed.to('cpu')
    small, rounded = blocks_linears(packed), blocks_linears(plain)
    assert len(small) == len(rounded) == 14
    for name, linear in rounded.items():
        weight = small[name].weight
        assert weight.dtype == (torch.uint8 if bits == 4 else torch.int8)
        if bits == 4:
            linear.weight.copy_(bnb.dequantize_4bit(weight.data, weight.quant_state))
        else:
            linear.weight.copy_(bnb.int8_vectorwise_dequant(weight.data, weight.SCB))
    expected, found = plain(**prompt), packed(**prompt)
    exact = model.language(**prompt)
    error, rounding = (found - expected).abs().max(), (expected - exact).abs().max()
    assert rounding > 1e-3  # it was quantised
    assert error < (1e-5 if bits == 4 else 0.5 * rounding)  # int8 rounds activations too


@with_bitsandbytes
def test_only_the_blocks_of_the_language_model_are_quantised(model):
    packed = copy.deepcopy(model)
    quantize(packed.language, 4, torch.float32)
    before = dict(model.named_parameters())
    for name, parameter in packed.named_parameters():
        inside = name.startswith('language.lm.model.layers') and 'norm' not in name
        assert (type(parameter).__name__ == 'Params4bit') == inside, name
        assert inside or torch.equal(parameter, before[name])


def test_bits_without_bitsandbytes_name_the_package(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'bitsandbytes', None)
    with pytest.raises(ConfigError, match=r'need bitsandbytes, which is not installed. Run `pip'):
        tiny(bits=4)
