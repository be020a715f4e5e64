"""A checkpoint becomes a model's weights: mapped, all or nothing, as a conversion makes them."""

import json
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mmllava import get_model
from mmllava.checkpoints import prepare_conversion, read_entries, write_conversion
from mmllava.errors import CheckpointError
from mmllava.models import prompt_builder, weights
from mmllava.models.weights import to_tensor
from tests.conftest import MODELS, tiny_config
from tests.test_checkpoints.test_layouts.test_lora import adapter
from tests.test_models.test_llava import build

V15, CLIP = MODELS / 'llava-v1.5', MODELS / 'clip-tiny'


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """v1.5 in one folder of our own, to damage."""
    return shutil.copytree(V15, tmp_path_factory.mktemp('weights') / 'v1.5')


def load_tensors(folder):
    return {name: to_tensor(entry).clone() for name, entry in read_entries(folder).items()}


@pytest.mark.parametrize('form', ['folder', 'pth', 'pth with state_dict', 'safetensors'])
def test_every_form_of_checkpoint_gives_the_same_weights(source, tmp_path, form):
    path = source
    if form.startswith('pth'):
        path = tmp_path / 'x.pth'
        tensors = load_tensors(source)
        torch.save(dict(state_dict=tensors) if 'state' in form else tensors, path)
    elif form == 'safetensors':
        path = tmp_path / 'x.safetensors'
        save_file(load_tensors(source), path)
    model = get_model(tiny_config('v1.5'), pretrained=str(path), device='cpu')
    expected = load_tensors(source)['model.layers.1.mlp.up_proj.weight']
    assert torch.equal(model.language.lm.model.layers[1].mlp.up_proj.weight, expected)


def test_weights_without_change_of_dtype_are_mapped_not_copied(source):
    model = get_model(tiny_config('v1.5'), pretrained=str(source))
    tensor = model.language.lm.lm_head.weight
    maps = Path('/proc/self/maps').read_text().splitlines()
    ranges = [line.split()[0].split('-') for line in maps if '.safetensors' in line]
    assert any(int(a, 16) <= tensor.data_ptr() < int(b, 16) for a, b in ranges)


def test_writing_to_loaded_weights_leaves_the_file_alone(source):
    before = (source / 'model-00001-of-00002.safetensors').read_bytes()
    model = get_model(tiny_config('v1.5'), pretrained=str(source), device='cpu')
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert (source / 'model-00001-of-00002.safetensors').read_bytes() == before


def test_training_one_model_does_not_change_another_of_the_same_files(source):
    first, second = (get_model(tiny_config('v1.5'), pretrained=str(source)) for _ in range(2))
    before = [p.clone() for p in second.parameters()]
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(1)
    assert all(torch.equal(a, b) for a, b in zip(before, second.parameters(), strict=True))


def save_changed(source, tmp_path, change):
    tensors = load_tensors(source)
    change(tensors)
    torch.save(tensors, tmp_path / 'x.pth')
    return str(tmp_path / 'x.pth')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda t: t.pop('lm_head.weight'),
            r'does not fit the config: 1 tensors missing \(language.lm.lm_head.weight\)',
        ),
        (
            lambda t: t.update(extra=torch.zeros(1)),
            r'what no LLaVA has: extra\. Expected lay',
        ),
        (
            lambda t: t.update({'model.image_newline': torch.zeros(48)}),
            r'1 tensors unexpected \(model.image_newline\)',
        ),
        (
            lambda t: t.update({'model.norm.weight': torch.ones(7)}),
            r'1 tensors of another shape \(language.lm.model.norm.weight is \(7,\) in the file '
            r'and \(48,\) in the model\)',
        ),
        (
            lambda t: t.update(
                {'model.layers.1.mlp.up_proj.weight': t.pop('lm_head.weight').int()}
            ),
            r'1 tensors of another type than floating point \(model.layers.1.mlp.up_proj',
        ),
        (
            lambda t: t.clear() or t.update(x=torch.zeros(1)),
            r'holds x; expected the names of one',
        ),
        (
            lambda t: [t.pop(n) for n in list(t) if 'projector' in n],
            r'4 tensors missing \(projector.layers.0.weight',
        ),
    ],
    ids=['missing', 'unknown', 'unexpected', 'misshapen', 'integers', 'unrelated', 'base'],
)
def test_a_checkpoint_that_does_not_fit_is_refused_by_name(source, tmp_path, change, message):
    path = save_changed(source, tmp_path, change)
    with pytest.raises(CheckpointError, match=message):
        get_model(tiny_config('v1.5'), pretrained=path, device='cpu')


class Payload:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return (open, (str(self.file), 'w'))


@pytest.mark.parametrize('form', ['zip', 'plain pickle'])
def test_a_pickle_with_code_in_it_is_refused_and_does_not_run(tmp_path, form):
    evil, trace = tmp_path / 'evil.pth', tmp_path / 'ran'
    if form == 'zip':
        torch.save(dict(state_dict=dict(x=torch.zeros(1)), meta=Payload(trace)), evil)
        assert zipfile.is_zipfile(evil)
    else:
        evil.write_bytes(pickle.dumps(Payload(trace)))
    with pytest.raises(CheckpointError):
        get_model(tiny_config('v1.5'), pretrained=str(evil), device='cpu')
    with pytest.raises(CheckpointError):
        build(init_cfg=dict(type='Pretrained', checkpoint=str(evil))).to('cpu')
    assert not trace.exists()


def test_a_folder_of_another_model_is_told_by_its_config(source, tmp_path):
    folder = tmp_path / 'other'
    shutil.copytree(source, folder)
    config = json.loads((folder / 'config.json').read_text())
    config |= dict(rms_norm_eps=1e-6, mm_vision_select_layer=-1)
    (folder / 'config.json').write_text(json.dumps(config))
    with pytest.raises(
        CheckpointError,
        match='rms_norm_eps is 1e-06 there and 1e-05 .*; mm_vision_select_layer is -1 there and -2',
    ):
        get_model(tiny_config('v1.5'), pretrained=str(folder), device='cpu')


def test_a_checkpoint_without_tower_needs_a_config_that_names_one(source):
    config = tiny_config('v1.5')
    tower = json.loads((MODELS / 'clip-tiny/config.json').read_text())
    keys = ('hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads')
    sizes = {k: tower[k] for k in (*keys, 'image_size', 'patch_size')}
    config.model.vision_encoder = dict(type='mmllava.CLIPVisionTower', **sizes)
    with pytest.raises(CheckpointError, match='has no vision tower, and the config names none'):
        get_model(config, pretrained=str(source), device='cpu')


def test_a_checkpoint_that_needs_a_base_says_how_it_is_named():
    message = r'lang_encoder=dict\(pretrained=FOLDER\).* Merge it with LLaMA first: python tools'
    with pytest.raises(CheckpointError, match=message):
        get_model(tiny_config('v1'), pretrained=str(MODELS / 'llava-v1-delta'), device='cpu')
    encoder = tiny_config('v1').model.lang_encoder
    on_a_delta = dict(encoder, pretrained=str(MODELS / 'llava-v1-delta'))
    with pytest.raises(CheckpointError, match=r'Expected a language model or a LLaVA. Merge it'):
        build(lang_encoder=on_a_delta).load_weights(MODELS / 'llava-v1-delta')


@pytest.mark.parametrize(
    'change', [dict(rope_theta=5e5), dict(rope_scaling=dict(type='linear', factor=2))]
)
def test_a_folder_with_other_positions_is_told(source, tmp_path, change):
    folder = tmp_path / 'other'
    shutil.copytree(source, folder)
    config = tiny_config('v1.5')  # its sizes come from the unchanged folder
    stored = json.loads((folder / 'config.json').read_text()) | change
    (folder / 'config.json').write_text(json.dumps(stored))
    with pytest.raises(CheckpointError, match=f'{next(iter(change))} is .* there and'):
        get_model(config, pretrained=str(folder), device='cpu')


def write(source, to, out, *args, **options):
    write_conversion(prepare_conversion(source, to, *args, **options), out)
    return out


def of_layout(layout, folder):
    """A checkpoint of a layout -> it, its base, and the version of the model."""
    if layout == 'delta':
        return MODELS / 'llava-v1-delta', MODELS / 'llama-base', 'v1'
    if layout == 'lora':
        return adapter(folder / 'lora'), V15, 'v1.5'
    end = '.pth' if layout == 'mmpretrain' else ''
    tower = None if layout == 'projector' else CLIP
    made = write(V15, layout, folder / f'{layout}{end}', tower=tower)
    return made, V15 if layout == 'projector' else None, 'v1.5'


@pytest.mark.parametrize('dtype', [None, 'float16', 'bfloat16'])
@pytest.mark.parametrize('layout', ['hf', 'mmpretrain', 'mmllava', 'delta', 'lora', 'projector'])
def test_a_loaded_model_has_the_weights_of_the_converted_one(tmp_path, layout, dtype):
    source, base, version = of_layout(layout, tmp_path)
    converted = write(source, 'mmllava', tmp_path / 'x.pth', base, dtype=dtype)
    config = tiny_config(version, dtype=dtype)
    expected = get_model(config, pretrained=str(converted)).state_dict()
    encoder = dict(lang_encoder=dict(pretrained=str(base))) if base else {}
    model = get_model(config, pretrained=str(source), **encoder)
    found = model.state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert tensor.dtype == expected[name].dtype and torch.equal(tensor, expected[name]), name


def test_of_an_adapted_checkpoint_only_the_adapted_weights_take_memory(tmp_path, monkeypatch):
    folder, seen = adapter(tmp_path / 'lora'), []
    compute = weights.compute
    monkeypatch.setattr(weights, 'compute', lambda plans: seen.extend(plans) or compute(plans))
    base = dict(pretrained=str(V15))
    get_model(tiny_config('v1.5'), pretrained=str(folder), lang_encoder=base)
    assert sorted(plan.name for plan in seen) == [
        'language.lm.model.layers.0.self_attn.q_proj.weight',
        'language.lm.model.layers.1.mlp.down_proj.weight',
    ]


def test_a_refused_checkpoint_leaves_the_model_as_it_was(source, tmp_path):
    tied = shutil.copytree(source, tmp_path / 'tied')
    config = json.loads((tied / 'config.json').read_text())
    (tied / 'config.json').write_text(json.dumps(config | dict(tie_word_embeddings=True)))
    tensors = load_tensors(source)
    tensors['lm_head.weight'] = tensors['model.embed_tokens.weight'].clone()
    for file in tied.glob('model*'):
        file.unlink()
    save_file(tensors, tied / 'model.safetensors')
    model = get_model(tiny_config('v1.5'), pretrained=str(tied), device='cpu')
    before = dict(model.named_parameters())
    with pytest.raises(CheckpointError):
        model.load_weights(save_changed(source, tmp_path, lambda t: t.pop('lm_head.weight')))
    assert {n: id(p) for n, p in model.named_parameters()} == {n: id(p) for n, p in before.items()}
    lm = model.language.lm
    assert lm.lm_head.weight is lm.model.embed_tokens.weight


def test_transformers_own_tokens_do_not_enter_the_vocabulary(tmp_path, monkeypatch):
    """Its folder names <image> and <pad>, beyond LLaVA's embeddings: the config's one counts."""
    hf = write(V15, 'hf', tmp_path / 'hf', tower=CLIP)
    places = {'org/llava': V15, V15: V15, hf: hf}
    monkeypatch.setattr(prompt_builder, 'fetch', lambda source, files: places[source])
    tokenizer = dict(type='mmllava.LlamaTokenizer', name_or_path='org/llava')
    config = tiny_config('v1.5', tokenizer=tokenizer)
    for folder in (V15, hf):
        model = get_model(config, pretrained=str(folder), device='cpu')
        assert model.tokenizer.find('<pad>') is None
        assert model.prompt_builder.tokenizer_folder == V15
