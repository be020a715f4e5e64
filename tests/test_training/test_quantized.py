"""Adapters beside a language model of 4 bits; bitsandbytes stands beside the environment."""

import importlib.util
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmllava import get_model
from tests.conftest import MODELS, tiny_config
from tests.helpers.training_run import losses, train, training_config
from tests.test_training.test_resume import weights_of

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ('bitsandbytes', 'peft')),
    reason='bitsandbytes or peft is not installed',
)
STAGE = dict(train=['projector'], lora=dict(r=4, alpha=8, dropout=0.0))


def config_of(folder, checkpoint=MODELS / 'llava-v1.5', bits=None, stage=STAGE):
    config = training_config(folder, stage)
    config.model.init_cfg.checkpoint = str(checkpoint)
    config.model.bits = bits
    config.default_hooks.checkpoint.interval = 3
    return config


@pytest.fixture(scope='module')
def rounded(tmp_path_factory):
    """The recorded checkpoint with the weights that bitsandbytes rounds to."""
    import bitsandbytes.functional as bnb

    folder = tmp_path_factory.mktemp('rounded') / 'llava-v1.5'
    shutil.copytree(MODELS / 'llava-v1.5', folder)
    model = get_model(tiny_config('v1.5', bits=4), pretrained=str(folder), device=None)
    model.quantize('cpu')
    model.to('cpu')
    weights = {
        f'model.{name}': bnb.dequantize_4bit(p.data, p.quant_state).clone()
        for name, p in model.language.lm.model.named_parameters()
        if getattr(p, 'quant_state', None) is not None
    }
    assert len(weights) == 14
    for file in folder.glob('*.safetensors'):
        found = load_file(file)
        save_file({k: weights.get(k, v).to(v.dtype) for k, v in found.items()}, file)
    return folder


def test_adapters_learn_what_they_learn_beside_the_rounded_weights(tmp_path, rounded):
    """The slow path: the same training on a checkpoint of the rounded weights."""
    for name, config in (
        ('packed', config_of(tmp_path / 'packed', bits=4)),
        ('plain', config_of(tmp_path / 'plain', rounded)),
        ('exact', config_of(tmp_path / 'exact')),
    ):
        assert train(config, tmp_path / name) == 0
    found, expected, exact = (losses(tmp_path / name) for name in ('packed', 'plain', 'exact'))
    assert found == pytest.approx(expected, abs=1e-3)
    assert found != pytest.approx(exact, abs=1e-3)
    ours, theirs = (weights_of(tmp_path / name / 'iter_6') for name in ('packed', 'plain'))
    assert ours.keys() == theirs.keys()
    assert len(ours) == 4 + 28  # the projector's, and two of each linear layer


def test_its_checkpoint_is_used_at_once_and_gone_on_with_to_the_bit(tmp_path):
    assert train(config_of(tmp_path, bits=4), tmp_path) == 0
    again = config_of(tmp_path / 'again', bits=4)
    assert train(again, tmp_path / 'again', '--resume', str(tmp_path / 'iter_3')) == 0
    assert losses(tmp_path / 'again') == losses(tmp_path)[3:]
    ours, theirs = weights_of(tmp_path / 'again/iter_6'), weights_of(tmp_path / 'iter_6')
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    base = dict(pretrained=str(MODELS / 'llava-v1.5'))
    model = get_model(
        tiny_config('v1.5'), pretrained=str(tmp_path / 'iter_6'), device='cpu', lang_encoder=base
    )
    assert model.has_weights


def test_the_log_counts_the_numbers_and_not_the_bytes_they_are_packed_in(tmp_path):
    tables = []
    for bits in (None, 4):
        folder = tmp_path / str(bits)
        config = config_of(folder, bits=bits, stage=dict(train=['projector']))
        assert train(config, folder) == 0
        (log,) = folder.glob('*/*.log')
        tables.append([x.split()[:3] for x in log.read_text().splitlines() if x.startswith('lang')])
    assert tables[0] == tables[1] != []
