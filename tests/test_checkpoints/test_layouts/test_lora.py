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
    read_entries,
    write_conversion,
)
from mmllava.checkpoints.conversion import stream
from mmllava.checkpoints.layouts.partial import fingerprint, own_entries
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


def expected(folder, scale, rename=lambda n: n, projector=1):
    """What the merge must be, by torch; ``projector`` is what was added to the base's."""
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
            made[name] = made[name] + projector
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
    with pytest.raises(CheckpointError, match=r"LLaVA's config.json and lacks non_lora_trainabl"):
        merged(folder, tmp_path / 'bare', V15)
    (folder / 'config.json').unlink()
    with pytest.raises(CheckpointError, match=r'lacks model.mm_projector'):
        merged(folder, tmp_path / 'bare', base)
    close(merged(folder, tmp_path / 'bare', V15), expected(folder, 2.0, projector=0))


def with_words(folder, words, rows=1002, **config):
    """Adds trained embeddings of more words, and names them in added_tokens.json."""
    trained = torch.load(folder / 'non_lora_trainables.bin', weights_only=True)
    for name in ('model.embed_tokens.weight', 'lm_head.weight'):
        trained[f'base_model.model.{name}'] = torch.ones(rows, 48)
    torch.save(trained, folder / 'non_lora_trainables.bin')
    if words is not None:
        (folder / 'added_tokens.json').write_text(json.dumps(words))
    told = dict(mm_use_im_start_end=True, vocab_size=rows) | config
    (folder / 'config.json').write_text(json.dumps(read_config(V15) | told))
    return folder


@pytest.mark.parametrize(
    'words', [None, {'<im_end>': 1000, '<im_start>': 1001}, {'<im_start>': 1000, '<im_end>': 1001}]
)
def test_the_words_of_new_rows_are_those_that_the_folder_names(tmp_path, words):
    folder = with_words(adapter(tmp_path / 'lora'), words)
    made = merged(folder, tmp_path / 'out')
    assert made['model.embed_tokens.weight'].shape == (1002, 48)
    told = json.loads((tmp_path / 'out/added_tokens.json').read_text())
    assert told == (words or {'<im_start>': 1000, '<im_end>': 1001})
    assert read_config(tmp_path / 'out')['vocab_size'] == 1002


@pytest.mark.parametrize(
    ('words', 'rows', 'message'),
    [
        ({'<im_start>': 1000, '<im_end>': 1001}, 1000, r'no file names <im_start> and <im_end> as'),
        ({'<im_start>': 1000, '[PAD]': 1001}, 1002, r'no file names <im_end> as one of its 1002'),
        (None, 1003, r'no file names <im_start> and <im_end> as one of its 1003 words'),
        ({'<im_start>': 7, '<im_end>': 1001}, 1002, r'<im_start> is word 7 of .* is that in the'),
        ({'<s>': 1000, '<im_end>': 1001}, 1002, r'<s> is word 1000 of .* <s> is 1 in the tokeni'),
        ({'<im_start>': 'x', '<im_end>': 1001}, 1002, r"gives '<im_start>' the id 'x'; expected"),
    ],
)
def test_words_that_the_rows_or_the_base_contradict_are_refused(tmp_path, words, rows, message):
    folder = with_words(adapter(tmp_path / 'lora'), words, rows)
    with pytest.raises(CheckpointError, match=message):
        prepare_conversion(folder, 'mmllava', V15)


def test_rows_without_a_name_are_told_where_no_word_is_needed(tmp_path):
    folder = with_words(adapter(tmp_path / 'lora'), None, 1003, mm_use_im_start_end=False)
    (note, *_) = prepare_conversion(folder, 'mmllava', V15).notes
    assert 'has rows for 3 more words than its base' in note


def test_a_merged_adapter_goes_to_transformers(tmp_path):
    folder, clip = adapter(tmp_path / 'lora'), GOLDEN / 'clip-tiny'
    write_conversion(prepare_conversion(folder, 'hf', V15, clip), tmp_path / 'hf')
    write_conversion(prepare_conversion(folder, 'original', V15, clip), tmp_path / 'original')
    found = compare(tmp_path / 'hf', tmp_path / 'original')
    assert found.equal == 80 and found.same


def test_what_was_trained_whole_takes_the_type_of_the_base(tmp_path):
    folder = adapter(tmp_path / 'lora')
    trained = torch.load(folder / 'non_lora_trainables.bin', weights_only=True)
    torch.save({n: t.bfloat16() for n, t in trained.items()}, folder / 'non_lora_trainables.bin')
    found = merged(folder, tmp_path / 'out')
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}


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
    'alphas': (dict(alpha_pattern={'q': 8}), None, r"'alpha_pattern': \{'q': 8\}"),
    'turned': (dict(fan_in_fan_out=True), None, r"'fan_in_fan_out': True"),
    'loftq': (dict(init_lora_weights='loftq'), None, r"lora_weights': 'loftq'"),
    'pissa': (dict(init_lora_weights='pissa_niter_4'), None, r"lora_weights': 'pissa_niter_4'"),
    'copied layers': (dict(layer_replication=[[0, 2]]), None, r"'layer_replication': \[\[0, 2\]\]"),
    'integers': (
        {}, lambda t: t.update({f'{KEY}A.weight': torch.ones(4, 48, dtype=torch.int8)}),
        r'q_proj.lora_A.weight is int8; expected float16.*Quantised',
    ),
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
    for source, layout in ((alone, None), (alone / 'adapter_model.bin', None), (alone, 'lora')):
        with pytest.raises(CheckpointError, match=r'adapter_config.json is not beside it'):
            prepare_conversion(source, 'mmllava', V15, layout=layout)
    with pytest.raises(CheckpointError, match=r'needs the model that it belongs to'):
        prepare_conversion(folder, 'mmllava')


def iteration(folder):
    """What tools/train.py leaves after LoRA: the adapter and, beside it, the projector."""
    adapter(folder, binary=False)
    beside = torch.load(folder / 'non_lora_trainables.bin', weights_only=True)
    (folder / 'non_lora_trainables.bin').unlink()
    tensors = {name.removeprefix('base_model.model.'): t for name, t in beside.items()}
    save_file(tensors, folder / 'model.safetensors')
    mark = fingerprint(own_entries(read_entries(V15)))
    (folder / 'base.json').write_text(json.dumps(dict(base='base', fingerprint=mark)))
    return folder


def test_a_folder_that_lacks_a_half_or_has_its_files_renamed_is_refused(tmp_path):
    whole, places = iteration(tmp_path / 'iter_1'), ('adapter_model', 'model')
    close(merged(whole, tmp_path / 'out'), expected(whole, 2.0))

    def refused(message, change, source):
        folder = shutil.copytree(source, tmp_path / 'copy')
        change(folder)
        with pytest.raises(CheckpointError, match=message):
            prepare_conversion(folder, 'mmllava', V15)
        shutil.rmtree(folder)

    def lacks(name):
        return lambda folder: (folder / name).unlink()

    def renamed(*names):
        def change(folder):
            first, second = (folder / name for name in names)
            first.rename(folder / 'x')
            second.rename(first)
            (folder / 'x').rename(second)

        return change

    lora = adapter(tmp_path / 'lora')
    refused(
        'lacks adapter_model.safetensors, the adapters', lacks('adapter_model.safetensors'), whole
    )
    refused('adapter_config.json is not beside it', lacks('adapter_config.json'), whole)
    refused('has base.json and lacks model.safetensors', lacks('model.safetensors'), whole)
    swap = renamed(*(f'{name}.safetensors' for name in places))
    refused('an adapter, where its model should be', swap, whole)
    swap = renamed('adapter_model.bin', 'non_lora_trainables.bin')
    refused(r'adapter_model.bin holds .* and no adapter', swap, lora)
