"""Less memory: 8 and 4 bits, and a model spread over devices."""

import copy
import importlib.util

import pytest
import torch
from torch import nn

from mmllava import get_model
from mmllava.errors import ConfigError, DeviceError
from mmllava.models.quantize import quantize
from tests.conftest import MODELS, tiny_config

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason='a GPU is there')
with_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec('bitsandbytes') is None, reason='bitsandbytes is not installed'
)
with_accelerate = pytest.mark.skipif(
    importlib.util.find_spec('accelerate') is None, reason='accelerate is not installed'
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


@no_gpu
@with_bitsandbytes
@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(bits=4), r"bits=4 runs on a CUDA device, and 'cpu' was asked for. Leave bits out"),
        (dict(bits=8, device='cuda'), r"'cuda' was asked for, and PyTorch .* sees 0 CUDA devices"),
        (dict(device_map='auto'), r"device_map='auto' spreads a model over GPUs .* sees no GPU"),
        (dict(device_map={'': 'cuda:1'}), r"device 'cuda:1' was asked for"),
    ],
)
def test_a_machine_without_gpu_says_so(options, message):
    with pytest.raises(DeviceError, match=message):
        tiny(**options)


@with_bitsandbytes
def test_a_model_that_was_to_be_quantised_does_not_run_unquantised():
    waiting = tiny(bits=4, device=None)
    with pytest.raises(DeviceError, match=r"bits=4 needs a CUDA device. Move the model: .to\('cu"):
        waiting(torch.zeros(1, 3, 56, 56))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(bits=5), "unknown number of bits '5'. Known: 4, 8"),
        (dict(device_map='atuo'), "unknown device_map 'atuo'. Did you mean auto"),
        pytest.param(
            dict(bits=4, device_map={'': 'cpu'}),
            'bits=4 and device_map=.* exclude each other',
            marks=with_bitsandbytes,
        ),
    ],
)
def test_bits_that_cannot_be_had_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        tiny(**options)


def test_bits_without_bitsandbytes_name_the_package(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'bitsandbytes', None)
    with pytest.raises(ConfigError, match=r'need bitsandbytes, which is not installed. Run `pip'):
        tiny(bits=4)


@with_accelerate
@pytest.mark.parametrize('version', ['v1.5', 'v1.6'])
def test_a_spread_model_answers_as_one_on_one_device(tmp_path, version):
    """Half of it on disk: accelerate's hooks bring each part in when it runs, as from a CPU."""
    from mmllava import inference_model

    folder = MODELS / f'llava-{version}'
    parts = {
        'vision_tower': 'disk',
        'projector': 'cpu',
        'language.lm.model.embed_tokens': 'disk',
        'language.lm.model.layers.0': 'cpu',
        'language.lm.model.layers.1': 'disk',
        'language.lm.model.norm': 'cpu',
        'language.lm.model.rotary_emb': 'cpu',
        'language.lm.lm_head': 'disk',
    }
    if version == 'v1.6':
        parts['image_newline'] = 'cpu'
    config = tiny_config(version)
    whole = get_model(config, pretrained=str(folder), device='cpu')
    spread = get_model(
        config, pretrained=str(folder), device_map=parts, offload_folder=str(tmp_path)
    )
    assert next(spread.vision_tower.parameters()).is_meta
    for number in range(3):
        asked = str(MODELS / f'images/{number}.png'), 'What is it?'
        assert inference_model(spread, *asked) == inference_model(whole, *asked)
