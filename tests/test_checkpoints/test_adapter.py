"""An adapter merged is W + scale * B A; what does not fit its base is refused."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmllava.checkpoints import (
    compare,
    identify,
    prepare_conversion,
    read_config,
    stream,
    write_conversion,
)
from mmllava.errors import CheckpointError
from tests.test_checkpoints.conftest import GOLDEN

V15 = GOLDEN / 'llava-v1.5'
Q, DOWN = 'model.layers.0.self_attn.q_proj', 'model.layers.1.mlp.down_proj'
SIZES = {Q: (48, 48), DOWN: (48, 96)}  # out, in
SETTINGS = dict(peft_type='LORA', r=4, lora_alpha=8, bias='none', base_model_name_or_path='base')


def model_tensors(folder):
    found = {}
    for file in sorted(folder.glob('*.safetensors')):
        found.update(load_file(file))
    return found


def adapter(folder, prefix='base_model.model.', rename=lambda n: n, binary=True, **settings):
    """An adapter's folder as LLaVA's training writes it, with a trained projector."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(3)
    tensors = {}
    for name, (rows, columns) in SIZES.items():
        pair = dict(A=(4, columns), B=(rows, 4))
        for letter, shape in pair.items():
            key = f'{prefix}{rename(name)}.lora_{letter}.weight'
            tensors[key] = torch.randn(shape, generator=generator) * 0.1
    if binary:
        torch.save(tensors, folder / 'adapter_model.bin')
    else:
        save_file(tensors, folder / 'adapter_model.safetensors')
    trained = {
        n: t + 1 for n, t in model_tensors(V15).items() if n.startswith('model.mm_projector.')
    }
    beside = {f'{prefix}{rename(name)}': tensor for name, tensor in trained.items()}
    torch.save(beside, folder / 'non_lora_trainables.bin')
    (folder / 'adapter_config.json').write_text(json.dumps({**SETTINGS, **settings}))
    shutil.copy(V15 / 'config.json', folder)
    return folder


def expected(folder, scale, rename=lambda n: n):
    """What the merge must be, by torch."""
    made = model_tensors(V15)
    file = folder / 'adapter_model.bin'
    pairs = (
        torch.load(file, weights_only=True)
        if file.exists()
        else load_file(file.with_suffix('.safetensors'))
    )
    for name in SIZES:
        a, b = (
            next(t for n, t in pairs.items() if rename(name) in n and f'lora_{letter}' in n)
            for letter in 'AB'
        )
        made[f'{name}.weight'] += scale * (b @ a)
    for name in made:
        if name.startswith('model.mm_projector.'):
            made[name] = made[name] + 1
    return made


def merged(source, out, base=V15, **options):
    write_conversion(prepare_conversion(source, 'original', base, **options), out)
    return model_tensors(out)


def close(found, wanted):
    assert found.keys() == wanted.keys()
    for name, tensor in found.items():
        assert (tensor - wanted[name]).abs().max() < 1e-6, name


@pytest.mark.parametrize('values', [97, 1000, stream.PIECE_VALUES])
@pytest.mark.parametrize('binary', [True, False])
def test_an_adapter_is_merged_as_torch_computes_it(tmp_path, monkeypatch, values, binary):
    monkeypatch.setattr(stream, 'PIECE_VALUES', values)
    folder = adapter(tmp_path / 'lora', binary=binary)
    assert identify(folder).layout == 'lora'
    close(merged(folder, tmp_path / 'out'), expected(folder, 2.0))
    assert (tmp_path / 'out/tokenizer.model').is_file()


def test_what_is_not_adapted_keeps_every_bit(tmp_path):
    found, old = merged(adapter(tmp_path / 'lora'), tmp_path / 'out'), model_tensors(V15)
    changed = {n for n in old if not torch.equal(found[n], old[n])}
    assert changed == {f'{n}.weight' for n in SIZES} | {n for n in old if 'mm_projector' in n}


@pytest.mark.parametrize(
    ('prefix', 'rename'),
    [
        ('base_model.model.', lambda n: n),
        ('base_model.model.', lambda n: n.replace('model.layers', 'language.lm.model.layers')),
        ('base_model.model.', lambda n: n.replace('model.layers', 'language_model.model.layers')),
        ('base_model.model.', lambda n: n.replace('model.layers', 'model.language_model.layers')),
        ('', lambda n: n),
    ],
    ids=['llava', 'ours', 'hf', 'hf 4.52', 'bare'],
)
def test_an_adapter_of_any_wrapping_is_understood(tmp_path, prefix, rename):
    folder = adapter(tmp_path / 'lora', prefix, rename)
    found = merged(folder, tmp_path / 'out')
    close(found, expected(folder, 2.0, rename))


def test_the_scale_is_that_of_peft(tmp_path):
    folder = adapter(tmp_path / 'lora', use_rslora=True)
    close(merged(folder, tmp_path / 'out'), expected(folder, 4.0))


def test_a_base_without_projector_will_do(tmp_path):
    """v1.5's adapters belong to Vicuna; projector and config come with the adapter."""
    base = tmp_path / 'vicuna'
    base.mkdir()
    tensors = {n: t for n, t in model_tensors(V15).items() if 'mm_projector' not in n}
    save_file(tensors, base / 'model.safetensors')
    for name in ('tokenizer.model', 'tokenizer_config.json'):
        shutil.copy(V15 / name, base)
    plain = {k: v for k, v in read_config(V15).items() if not k.startswith('mm_')}
    (base / 'config.json').write_text(json.dumps({**plain, 'model_type': 'llama'}))
    assert identify(base).layout == 'llama'
    folder = adapter(tmp_path / 'lora')
    close(merged(folder, tmp_path / 'out', base), expected(folder, 2.0))
    assert read_config(tmp_path / 'out')['mm_projector_type'] == 'mlp2x_gelu'
    (folder / 'non_lora_trainables.bin').unlink()
    with pytest.raises(CheckpointError, match=r'lacks model.mm_projector'):
        merged(folder, tmp_path / 'bare', base)


def test_a_merged_adapter_goes_to_transformers(tmp_path):
    folder, clip = adapter(tmp_path / 'lora'), GOLDEN / 'clip-tiny'
    write_conversion(prepare_conversion(folder, 'hf', V15, clip), tmp_path / 'hf')
    write_conversion(prepare_conversion(folder, 'original', V15, clip), tmp_path / 'original')
    found = compare(tmp_path / 'hf', tmp_path / 'original')
    assert found.equal == 80 and found.same


def test_half_precision_is_rounded_once(tmp_path):
    folder = adapter(tmp_path / 'lora')
    found = merged(folder, tmp_path / 'out', dtype='bfloat16')
    exact = expected(folder, 2.0)
    name = f'{Q}.weight'
    gap = (found[name].float() - exact[name]).abs() / exact[name].abs()
    assert gap.max() <= 2**-8 * 1.001


def change(folder, function):
    tensors = torch.load(folder / 'adapter_model.bin', weights_only=True)
    function(tensors)
    torch.save(tensors, folder / 'adapter_model.bin')


KEY = f'base_model.model.{Q}.lora_'
FAULTS = {
    'dora': (dict(use_dora=True), None, r"LORA with \{'use_dora': True\}; plain LoRA is merged"),
    'other': (dict(peft_type='LOHA'), None, r'is LOHA with'),
    'bias': (dict(bias='all'), None, r"'bias': 'all'"),
    'pattern': (dict(rank_pattern={'q': 8}), None, r"'rank_pattern': \{'q': 8\}"),
    'rank': (dict(r=0), None, r'says r=0, lora_alpha=8; expected two numbers'),
    'two runs': (dict(r=8), None, r'says r=8, and lora_A of .* is \[4, 48\]. Files of two runs'),
    'pissa': (dict(init_lora_weights='pissa_niter_4'), None, r"lora_weights': 'pissa_niter_4'"),
    'copied layers': (dict(layer_replication=[[0, 2]]), None, r"'layer_replication': \[\[0, 2\]\]"),
    'half': ({}, lambda t: t.pop(f'{KEY}B.weight'), r'has only lora_A of model.layers.0'),
    'base': (
        {}, lambda t: t.update({f'{KEY}A.weight': torch.ones(4, 40)}),
        r'q_proj.weight is \[48, 48\] in the base, and the adapter has A \[4, 40\]',
    ),
    'layer': (
        {}, lambda t: t.update({f'base_model.model.model.layers.9.mlp.up_proj.lora_{x}.weight':
                                torch.ones(s) for x, s in (('A', (4, 48)), ('B', (96, 4)))}),
        r'changes model.layers.9.mlp.up_proj.weight, which the base lacks',
    ),
    'name': (
        {}, lambda t: t.update({'base_model.model.transformer.h.0.weight': torch.ones(1)}),
        r'transformer.h.0.weight, which is no weight of a LLaVA',
    ),
    'twice': (
        {}, lambda t: t.update({'base_model.model.model.mm_projector.0.bias': torch.ones(48)}),
        r'holds model.mm_projector.0.bias in the adapter and in non_lora_trainables.bin',
    ),
}  # fmt: skip


@pytest.mark.parametrize('case', FAULTS)
def test_an_adapter_with_a_fault_is_refused(tmp_path, case):
    settings, function, message = FAULTS[case]
    folder = adapter(tmp_path / 'lora', **settings)
    if function:
        change(folder, function)
    with pytest.raises(CheckpointError, match=message):
        prepare_conversion(folder, 'mmllava', V15)


def test_the_second_half_alone_is_no_adapter(tmp_path):
    folder = adapter(tmp_path / 'lora')
    alone = shutil.copytree(folder, tmp_path / 'alone')
    (alone / 'adapter_config.json').unlink()
    with pytest.raises(CheckpointError, match=r'adapter_config.json is not beside it'):
        prepare_conversion(alone, 'mmllava', V15)
    with pytest.raises(CheckpointError, match=r'needs the model that it belongs to'):
        prepare_conversion(folder, 'mmllava')
