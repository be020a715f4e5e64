"""Every layout there and back, bit for bit; what a layout cannot hold is refused."""

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
    read_manifest,
    verify,
    write_conversion,
)
from mmllava.errors import CheckpointError, ConfigError
from tests.test_checkpoints.conftest import GOLDEN, convert, equal

CLIP, BASE, DELTA = GOLDEN / 'clip-tiny', GOLDEN / 'llama-base', GOLDEN / 'llava-v1-delta'
V15, V16 = GOLDEN / 'llava-v1.5', GOLDEN / 'llava-v1.6'
END = {
    f'model.vision_tower.vision_tower.vision_model.post_layernorm.{w}' for w in ('weight', 'bias')
}

THERE = [
    (version, layout, name)
    for version in ('v1', 'v1.5', 'v1.6')
    for layout, name in (
        ('mmllava', 'folder'),
        ('mmllava', 'file.pth'),
        ('original', 'folder'),
        ('original', 'file.pth'),
        ('hf', 'folder'),
        ('mmpretrain', 'file.pth'),
    )
    if (version, layout) not in (('v1', 'hf'), ('v1.6', 'mmpretrain'))
]


@pytest.mark.slow
@pytest.mark.parametrize(('version', 'layout', 'name'), THERE)
def test_there_and_back_is_bit_for_bit_the_same(tmp_path, whole, version, layout, name):
    there = convert(whole[version], layout, tmp_path / name)
    but = END if layout == 'mmpretrain' else set()
    assert identify(there).layout == layout
    equal(there, whole[version], but=but)
    describes = whole[version] if name == 'file.pth' else None
    tower = CLIP if layout == 'mmpretrain' else None
    back = convert(there, 'original', tmp_path / 'back', describes, tower)
    equal(back, whole[version])
    config, expected = read_config(back), read_config(whole[version])
    differs = {k for k in config if k in expected and config[k] != expected[k]}
    assert not differs
    assert (back / 'tokenizer.model').read_bytes() == (V15 / 'tokenizer.model').read_bytes()


@pytest.mark.parametrize('layout', ['mmllava', 'hf', 'mmpretrain'])
def test_every_pair_of_layouts_is_a_path(tmp_path, whole, layout):
    first = convert(whole['v1.5'], layout, tmp_path / ('a.pth' if layout == 'mmpretrain' else 'a'))
    describes = whole['v1.5'] if layout == 'mmpretrain' else None
    for other in ('mmllava', 'hf'):
        second = convert(first, other, tmp_path / other, describes, CLIP)
        equal(second, whole['v1.5'])


@pytest.mark.parametrize('source', ['mmllava', 'original', 'mmllava.pth'])
def test_a_delta_is_made_and_merged_again(tmp_path, whole, source):
    layout = source.removesuffix('.pth')
    model = convert(whole['v1'], layout, tmp_path / source)
    if source.endswith('.pth'):  # a bare file has no config: the delta is one too
        delta = tmp_path / 'delta.pth'
        write_conversion(prepare_conversion(model, 'delta', BASE), delta)
    else:
        delta = convert(model, 'delta', tmp_path / 'delta', BASE)
    assert identify(delta).layout == 'delta'
    equal(delta, whole['v1'], base=BASE)
    assert {e.dtype for n, e in read_entries(delta).items() if 'vision' not in n} == {'float16'}


def test_the_recorded_delta_is_given_back_by_its_model(tmp_path):
    merged = convert(DELTA, 'mmllava', tmp_path / 'merged', BASE)
    equal(convert(merged, 'delta', tmp_path / 'delta', BASE), DELTA, base=BASE)


# --- types, shards, plans --------------------------------------------------------------


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16', 'float32'])
def test_a_type_is_what_torch_makes_of_the_values(tmp_path, whole, dtype):
    out = convert(whole['v1.6'], 'original', tmp_path / 'out', dtype=dtype)
    made, old = ({} for _ in 'ab')
    for found, folder in ((made, out), (old, whole['v1.6'])):
        for file in folder.glob('*.safetensors'):
            found.update(load_file(file))
    assert set(made) == set(old)
    for name, tensor in made.items():
        assert torch.equal(tensor, old[name].to(getattr(torch, dtype)))
    assert read_config(out)['torch_dtype'] == dtype
    found = compare(out, whole['v1.6'])
    assert found.same and (found.up_to_dtype > 50 or dtype == 'float32')


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float64, torch.float16])
@pytest.mark.parametrize('target', ['float16', 'bfloat16', 'float32'])
def test_every_type_becomes_every_other_as_in_torch(tmp_path, dtype, target):
    made = {}
    for file in V15.glob('*.safetensors'):
        made.update({n: (t * 1.0001).to(dtype) for n, t in load_file(file).items()})
    source = tmp_path / 'source'
    shutil.copytree(V15, source, ignore=shutil.ignore_patterns('*.safetensors', '*.index.json'))
    save_file(made, source / 'model.safetensors')
    out = convert(source, 'original', tmp_path / 'out', dtype=target)
    found = load_file(out / 'model-00001-of-00001.safetensors')
    assert all(torch.equal(found[n], t.to(getattr(torch, target))) for n, t in made.items())


def test_shards_are_as_large_as_asked(tmp_path, whole):
    out = convert(whole['v1.5'], 'hf', tmp_path / 'out', shard_bytes=250_000)
    sizes = [f.stat().st_size for f in out.glob('*.safetensors')]
    assert len(sizes) > 2 and max(sizes) < 260_000
    equal(out, whole['v1.5'])


def test_every_tensor_of_a_plan_is_kept_or_dropped_by_name(whole):
    conversion = prepare_conversion(whole['v1.5'], 'projector')
    names = {entry.name for move in conversion.moves for entry in move.sources}
    assert names == set(read_entries(whole['v1.5']))
    assert len(conversion.kept) == 4
    assert all(move.name for move in conversion.moves if move.how == 'dropped')


def test_a_manifest_names_sources_tensors_and_files(tmp_path):
    import hashlib

    convert(DELTA, 'mmllava', tmp_path / 'a', BASE, CLIP)
    told = read_manifest(tmp_path / 'a')
    roles = {(s['role'], s['file']): s for s in told['sources']}
    assert {role for role, _ in roles} == {'source', 'base', 'tower'} and len(roles) == 6
    file = BASE / 'pytorch_model-00001-of-00002.bin'
    entry = roles['base', file.name]
    assert entry['sha256'] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert entry['bytes'] == file.stat().st_size
    assert told['layout'] == 'mmllava' and told['tool'].startswith('mmllava ')
    assert told['tensors']['language.lm.model.norm.weight']['how'] == 'added'
    assert str(tmp_path) not in json.dumps(told)
    convert(DELTA, 'mmllava', tmp_path / 'b', BASE, CLIP)
    assert read_manifest(tmp_path / 'b') == told
    convert(DELTA, 'mmllava', tmp_path / 'b.pth', BASE, CLIP)
    sums = {n: t['sha256'] for n, t in read_manifest(tmp_path / 'b.pth')['tensors'].items()}
    assert sums == {n: t['sha256'] for n, t in told['tensors'].items()}


def test_one_changed_bit_is_found(tmp_path, whole):
    out = convert(whole['v1.5'], 'mmllava', tmp_path / 'out')
    assert verify(out)['tensors'] == 80
    (file,) = out.glob('*.safetensors')
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match=r'is not what was written there: its SHA-256'):
        verify(out)
    found = compare(out, whole['v1.5'])
    assert (found.different, found.equal) == (1, 79) and found.max_difference > 0
    assert found.first_different in read_entries(whole['v1.5'])


@pytest.mark.parametrize('change', ['config', 'lost', 'extra'])
def test_what_a_manifest_does_not_say_is_found(tmp_path, whole, change):
    out = convert(whole['v1.5'], 'mmllava', tmp_path / 'out')
    if change == 'config':
        (out / 'config.json').write_text('{}')
        message = 'config.json is not what was written there'
    else:
        told = json.loads((out / 'manifest.json').read_text())
        if change == 'lost':
            told['tensors']['more'] = dict(sha256='')
        else:
            del told['tensors']['projector.layers.0.bias']
        (out / 'manifest.json').write_text(json.dumps(told))
        message = 'lacks 1 tensors, first more' if change == 'lost' else 'does not name, 1 tensors'
    with pytest.raises(CheckpointError, match=message):
        verify(out)
    with pytest.raises(CheckpointError, match='has no manifest.json'):
        verify(V15)


# --- refusals --------------------------------------------------------------------------


def refused(message, *arguments, **options):
    with pytest.raises(CheckpointError, match=message) as caught:
        prepare_conversion(*arguments, **options)
    return str(caught.value)


def test_what_a_layout_cannot_hold_is_refused_with_the_reason(whole):
    refused(r'projector of 1 linear layer \(v0 and v1 have one\)', whole['v1'], 'hf')
    refused(r"is v1.6 .* mmpretrain's Llava knows v1 and v1.5", whole['v1.6'], 'mmpretrain')
    refused(r'no vision tower inside.* Add --tower', V15, 'hf')
    refused(r'how many attention heads .* --tower', V16, 'hf')
    refused(r'a delta is float16', whole['v1'], 'delta', BASE, dtype='bfloat16')
    with pytest.raises(ConfigError, match=r"unknown layout to convert to 'hff'. Did you mean hf"):
        prepare_conversion(V15, 'hff')
    with pytest.raises(ConfigError, match=r"unknown dtype 'half'"):
        prepare_conversion(V15, 'original', dtype='half')


def test_the_end_of_a_tower_is_taken_from_its_clip(tmp_path, whole):
    bare = convert(whole['v1.5'], 'mmpretrain', tmp_path / 'x.pth')
    refused(r'lacks .*post_layernorm.weight, which LLaVA never reads', bare, 'hf', whole['v1.5'])
    conversion = prepare_conversion(bare, 'hf', whole['v1.5'], CLIP)
    taken = {e.name for m in conversion.moves for e in m.sources if CLIP in e.file.parents}
    assert taken == {f'vision_model.post_layernorm.{w}' for w in ('weight', 'bias')}


def test_a_training_checkpoint_of_mmengine_is_read(tmp_path, whole):
    bare = convert(whole['v1.5'], 'mmllava', tmp_path / 'x.pth')
    tensors = {n: torch.nn.Parameter(t) for n, t in torch.load(bare, weights_only=True).items()}
    torch.save(dict(meta=dict(epoch=1, cfg='model = dict()'), state_dict=tensors), bare)
    assert identify(bare).layout == 'mmllava'
    equal(convert(bare, 'original', tmp_path / 'out', whole['v1.5']), whole['v1.5'])


def test_a_source_that_needs_a_base_says_so(whole, tmp_path):
    refused(r'is the published difference.*Name that by --base', DELTA, 'mmllava')
    refused(r'is a language model alone: a base', BASE, 'mmllava')
    refused(r'is a CLIP vision tower', CLIP, 'mmllava')
    refused(r'needs no base', whole['v1.5'], 'mmllava', BASE)
    refused(r'no --base was named', whole['v1'], 'delta')
    refused(r'llava-v1.5 is original:', whole['v1'], 'delta', V15)
    bare = tmp_path / 'bare.pth'
    write_conversion(prepare_conversion(whole['v1.5'], 'mmllava'), bare)
    refused(r'has no config.json of a LLaVA', bare, 'original', BASE)
    with pytest.raises(CheckpointError, match=r'no config.json, so a folder .* by --base'):
        write_conversion(prepare_conversion(bare, 'original'), tmp_path / 'out')


def test_a_tuned_tower_is_never_replaced(whole):
    conversion = prepare_conversion(V16, 'original', tower=CLIP)
    assert 'the vision tower is the one in' in conversion.notes[0]
    assert not any(CLIP in entry.file.parents for m in conversion.moves for entry in m.sources)


def spoiled(tmp_path, change, config=None, source=V15):
    """A copy of a model whose tensors a function changed."""
    folder = tmp_path / 'spoiled'
    ignore = shutil.ignore_patterns('*.safetensors', '*.index.json')
    shutil.copytree(source, folder, ignore=ignore)
    tensors = {}
    for file in source.glob('*.safetensors'):
        tensors.update(load_file(file))
    change(tensors)
    save_file(tensors, folder / 'model.safetensors')
    if config:
        file = folder / 'config.json'
        file.write_text(json.dumps(json.loads(file.read_text()) | config))
    return folder


Q = 'model.layers.1.self_attn.q_proj.weight'
SPOILS = {
    'missing': (lambda t: t.pop(Q), {}, rf'lacks {Q}: 1 of the 25 tensors'),
    'a whole layer less': (
        lambda t: [t.pop(n) for n in [*t] if '.layers.1.' in n], {},
        r"says \{'num_hidden_layers': 2\}, its tensors \{'num_hidden_layers': 1\}",
    ),
    'unknown': (lambda t: t.update(odd=torch.ones(1)), {}, r'holds what no LLaVA has: odd'),
    'twice': (
        lambda t: t.update({'model.layers.0.self_attn.q_proj.lora_A.weight': torch.ones(2, 48)}),
        {}, r'a LoRA adapter, but adapter_config.json is not beside it',
    ),
    'shape': (lambda t: t.update({Q: torch.ones(48, 40)}), {}, rf'{Q} is \[48, 40\]; expected'),
    'integers': (
        lambda t: t.update({Q: torch.ones(48, 48, dtype=torch.int8)}), {}, rf'{Q} is int8; .*Quan'
    ),
    'head': (
        lambda t: t.update({'lm_head.weight': torch.ones(999, 48)}), {},
        r'lm_head.weight is \[999, 48\]; expected \[1000, 48\]',
    ),
    'tied': (lambda t: t.pop('lm_head.weight'), {}, r'lacks lm_head.weight'),
    'vocabulary': (
        lambda t: None, dict(vocab_size=1003), r"says \{'vocab_size': 1003\}, its tensors .*1000"
    ),
    'projector': (
        lambda t: None, dict(mm_projector_type='linear'), r'Two versions are mixed there'
    ),
    'newline': (
        lambda t: t.update({'model.image_newline': torch.ones(48)}), {},
        r'has model.image_newline, but its config says mm_patch_merge_type .flat.',
    ),
    'projector layers': (
        lambda t: t.update({'model.mm_projector.2.weight': torch.ones(48, 49)}), {},
        r'mm_projector.2.weight is \[48, 49\]; expected 48 columns, the rows of .*mm_projector.0',
    ),
    'width': (
        lambda t: t.update({'model.mm_projector.2.weight': torch.ones(40, 48),
                            'model.mm_projector.2.bias': torch.ones(40)}), {},
        r'mm_projector.2.weight is \[40, 48\]; expected 48 rows',
    ),
}  # fmt: skip


@pytest.mark.parametrize('case', SPOILS)
def test_a_model_with_a_fault_is_refused(tmp_path, case):
    change, config, message = SPOILS[case]
    refused(message, spoiled(tmp_path, change, config), 'mmllava')


TOWER = 'model.vision_tower.vision_tower.vision_model.'


@pytest.mark.parametrize(
    ('name', 'shape'),
    [
        ('embeddings.position_embedding.weight', (32, 17)),
        ('embeddings.position_embedding.weight', (16, 32)),
        ('embeddings.patch_embedding.weight', (40, 3, 14, 14)),
        ('embeddings.patch_embedding.weight', (32, 3, 14, 7)),
        ('pre_layrnorm.weight', (64,)),
    ],
)
def test_a_tower_of_parts_of_different_widths_is_refused(tmp_path, whole, name, shape):
    """In a bare file too, where no config tells the sizes."""

    def change(tensors):
        tensors[TOWER + name] = torch.ones(shape)
        if name == 'pre_layrnorm.weight':
            tensors[f'{TOWER}pre_layrnorm.bias'] = torch.ones(shape)

    source = spoiled(tmp_path, change, {}, whole['v1.5'])
    message = rf'{name.rpartition(".")[0]}.* is \[.*\]; expected .*32.*, as .*class_embedding'
    refused(message, source / 'model.safetensors', 'mmllava', V15)


def test_a_tensor_that_is_one_number_is_refused_by_conversion_and_comparison(tmp_path, whole):
    file = convert(whole['v1.5'], 'mmpretrain', tmp_path / 'x.pth')
    tensors = torch.load(file, weights_only=True)
    tensors['model.vision_tower.layers.0.attn.qkv.bias'] = torch.tensor(1.0)
    torch.save(tensors, file)
    refused(r'the shape of a tensor is of a kind that it cannot have', file, 'mmllava', V15)
    with pytest.raises(CheckpointError, match='the shape of a tensor is of a kind that it cannot'):
        compare(file, whole['v1.5'])


@pytest.mark.parametrize('image', [998, 1001, 'x', [], True])
def test_two_places_for_the_picture_are_refused(tmp_path, whole, image):
    source = convert(whole['v1.5'], 'hf', tmp_path / 'source')
    told = json.loads((source / 'config.json').read_text()) | dict(image_token_index=image)
    (source / 'config.json').write_text(json.dumps(told))
    refused(r'says image_token_index .*, and <image> is token 1000 of its tok', source, 'original')
    (source / 'config.json').write_text(json.dumps({**told, 'image_token_index': None}))
    assert len(prepare_conversion(source, 'original').kept) == 80


def test_one_tensor_under_two_names_is_refused(tmp_path, whole):
    def change(tensors):
        tensors['lm_head.weight'] = tensors['language_model.lm_head.weight'].clone()

    source = convert(whole['v1.5'], 'hf', tmp_path / 'source')
    message = r"both are LLaVA's 'lm_head.weight'. Two versions are mixed"
    refused(message, spoiled(tmp_path, change, {}, source), 'original')


@pytest.mark.parametrize('layout', ['hf', 'mmllava'])
def test_names_of_two_layouts_in_one_checkpoint_are_refused(tmp_path, whole, layout):
    def change(tensors):
        tensors['model.layers.0.mlp.up_proj.bias'] = torch.ones(96)  # the original's way

    source = convert(whole['v1.5'], layout, tmp_path / 'source')
    refused(r'holds what no LLaVA has: model.layers', spoiled(tmp_path, change, {}, source), 'hf')


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_values_that_are_not_finite_are_named(tmp_path, value):
    def change(tensors):
        tensors[Q][7, 7] = value

    conversion = prepare_conversion(spoiled(tmp_path, change), 'mmllava')
    with pytest.raises(CheckpointError, match=r'q_proj.weight has values that are not finite'):
        write_conversion(conversion, tmp_path / 'out')
    assert sorted(f.name for f in tmp_path.iterdir()) == ['spoiled']


def test_what_is_too_large_for_a_type_is_told(tmp_path):
    folder = spoiled(tmp_path, lambda t: t[Q].fill_(1e5))
    conversion = prepare_conversion(folder, 'mmllava', dtype='float16')
    with pytest.raises(CheckpointError, match=r'too large for the type: then name another'):
        write_conversion(conversion, tmp_path / 'out')
    convert(folder, 'mmllava', tmp_path / 'out', dtype='bfloat16')


def test_a_base_that_is_no_relative_gives_no_delta(tmp_path, whole):
    base = shutil.copytree(BASE, tmp_path / 'base')
    for file in base.glob('*.bin'):
        tensors = torch.load(file, weights_only=True)
        torch.save({n: -t if 'norm' in n else t for n, t in tensors.items()}, file)
    refused(r'This is not the base of the model', whole['v1'], 'delta', base)
