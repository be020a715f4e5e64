"""A model without weights, its dtype, and a model on several devices."""

import importlib.util

import pytest
import torch

from mmllava import get_model
from mmllava.errors import ConfigError, DeviceError
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
