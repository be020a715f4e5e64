"""A head that is tied to the embedding: read, written, loaded and trained as one tensor.

transformers is the second implementation: it ties by its own rules, and gives the same logits.
"""

import importlib.util
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import mmllava
from mmllava import get_model
from mmllava.checkpoints import compare, prepare_conversion, read_config, write_conversion
from mmllava.errors import CheckpointError
from tests.conftest import MODELS, ROOT, tiny_config
from tests.test_checkpoints.conftest import convert

CLIP = MODELS / 'clip-tiny'
EMBED, HEAD = 'model.embed_tokens.weight', 'lm_head.weight'
CLASSES = {'v1.5': 'LlavaForConditionalGeneration', 'v1.6': 'LlavaNextForConditionalGeneration'}
KEY = 'tie_word_embeddings'


def load_tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f'tools/analysis_tools/{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tensors_of(folder):
    found = {}
    for file in sorted(folder.glob('*.safetensors')):
        found.update(load_file(file))
    return found


def replace_weights(folder, tensors):
    """Makes one file the folder's only weights."""
    for file in (*folder.glob('*.safetensors*'), folder / 'manifest.json'):
        file.unlink(missing_ok=True)
    save_file(tensors, folder / 'model.safetensors')
    return folder


def tell(folder, **changes):
    """Changes config.json; None removes a key."""
    said = json.loads((folder / 'config.json').read_text()) | changes
    said = {key: value for key, value in said.items() if value is not None}
    (folder / 'config.json').write_text(json.dumps(said))
    return folder


def without_head(folder):
    tensors = tensors_of(folder)
    return replace_weights(folder, {n: t for n, t in tensors.items() if 'lm_head' not in n})


@pytest.fixture(scope='module', params=sorted(CLASSES))
def version(request):
    return request.param


@pytest.fixture(scope='module')
def tied(version, tmp_path_factory):
    """A folder as LLaVA's authors store it, tied: no head, and the key in config.json."""
    out = tmp_path_factory.mktemp('tied') / 'model'
    convert(MODELS / f'llava-{version}', 'original', out, tower=CLIP)
    return tell(without_head(out), **{KEY: True})


@pytest.fixture(scope='module')
def by_transformers(version, tmp_path_factory):
    """The same model, made and saved by transformers alone from the untied export."""
    import transformers

    root = tmp_path_factory.mktemp('hf')
    export = convert(MODELS / f'llava-{version}', 'hf', root / 'export', tower=CLIP)
    said = read_config(export)
    tell(export, text_config={**said['text_config'], KEY: True}, **{KEY: True})
    without_head(export)
    model = getattr(transformers, CLASSES[version]).from_pretrained(export)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    model.save_pretrained(root / 'saved')
    for file in export.iterdir():
        if not (root / 'saved' / file.name).exists() and 'safetensors' not in file.name:
            shutil.copy(file, root / 'saved')
    assert not any('lm_head' in name for name in tensors_of(root / 'saved'))
    return root / 'saved'


@pytest.fixture(scope='module')
def logits(by_transformers):
    """What transformers computes."""
    return load_tool('compare_logits').logits(by_transformers)


def head_of(model):
    return model.language.lm.lm_head.weight


def is_one(model):
    return head_of(model) is model.language.lm.model.embed_tokens.weight


def close(found, expected):
    return found.shape == expected.shape and (found - expected).abs().max() < 1e-4


# --- reading and writing ---------------------------------------------------------------


def test_a_tied_folder_gives_transformers_logits(tied, logits):
    assert close(load_tool('compare_logits').logits(tied), logits)


@pytest.mark.slow
@pytest.mark.parametrize('source', ['original', 'hf'])
@pytest.mark.parametrize('to', ['original', 'hf', 'mmllava'])
def test_a_tied_model_of_any_layout_is_written_whole_and_still_tied(
    tmp_path, tied, by_transformers, logits, source, to
):
    folder = tied if source == 'original' else by_transformers
    out = convert(folder, to, tmp_path / 'out')  # proves it too
    told, tensors = read_config(out), tensors_of(out)
    (head,), (embed,) = (
        [n for n in tensors if part in n] for part in ('lm_head.weight', 'embed_tokens.weight')
    )
    assert torch.equal(tensors[head], tensors[embed])
    assert told[KEY] is True
    assert to != 'hf' or told['text_config'][KEY] is True
    assert close(load_tool('compare_logits').logits(out), logits)
    assert compare(out, folder).same
    again = convert(out, 'original', tmp_path / 'again')
    assert read_config(again)[KEY] is True
    assert compare(again, tied).same


def test_transformers_loads_a_tied_export_without_a_word_and_ties_it(tmp_path, tied, version):
    import transformers

    out = convert(tied, 'hf', tmp_path / 'out')
    model, report = getattr(transformers, CLASSES[version]).from_pretrained(
        out, output_loading_info=True
    )
    assert not any(report.values()), report
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


@pytest.mark.parametrize(
    ('outer', 'inner'), [(True, True), (None, True), (False, True), (True, None), (True, False)]
)
def test_either_config_of_transformers_ties(tmp_path, by_transformers, logits, outer, inner):
    """Version 4 writes the inner key alone, or the outer one as it was told; 5 writes both."""
    folder = shutil.copytree(by_transformers, tmp_path / 'copy')
    text = {k: v for k, v in read_config(folder)['text_config'].items() if k != KEY}
    text |= {} if inner is None else {KEY: inner}
    tell(folder, text_config=text, **{KEY: outer})
    out = convert(folder, 'original', tmp_path / 'out')
    assert read_config(out)[KEY] is True
    assert close(load_tool('compare_logits').logits(out), logits)


@pytest.mark.parametrize('source', ['original', 'hf'])
@pytest.mark.parametrize('said', [None, False, 'true', 1])
def test_a_head_that_is_missing_and_not_tied_is_refused_with_what_ties_it(
    tmp_path, tied, by_transformers, source, said
):
    folder = shutil.copytree(tied if source == 'original' else by_transformers, tmp_path / 'copy')
    text = read_config(folder).get('text_config')
    text = text and {k: v for k, v in text.items() if k != KEY}
    tell(folder, text_config=text, **{KEY: said})
    message = r'lacks lm_head.weight.*config.json .* must say "tie_word_embeddings": true'
    with pytest.raises(CheckpointError, match=message):
        prepare_conversion(folder, 'original')
    if source == 'original':
        with pytest.raises(CheckpointError, match=r'missing \(language.lm.lm_head.*must say "tie'):
            mmllava.load(folder, tower=CLIP, device='cpu')


@pytest.mark.slow
def test_a_head_of_other_values_is_kept_and_the_config_put_right(tmp_path, tied, version):
    """transformers 5 does not tie it either."""
    folder = shutil.copytree(tied, tmp_path / 'copy')
    tensors = tensors_of(folder)
    replace_weights(folder, {**tensors, HEAD: tensors[EMBED] + 1})
    for to in ('original', 'hf', 'mmllava'):
        out = convert(folder, to, tmp_path / to)
        assert read_config(out)[KEY] is False
        assert compare(out, folder).same
    assert not is_one(mmllava.load(folder, tower=CLIP, device='cpu'))
    tool = load_tool('compare_logits')
    assert close(tool.logits(tmp_path / 'hf'), tool.logits(folder))


def test_a_torch_file_with_both_names_on_one_tensor_is_tied(tmp_path, tied, logits):
    folder = shutil.copytree(tied, tmp_path / 'copy')
    tensors = tensors_of(folder)
    (folder / 'model.safetensors').unlink()
    torch.save({**tensors, HEAD: tensors[EMBED]}, folder / 'pytorch_model.bin')
    assert is_one(mmllava.load(folder, tower=CLIP, device='cpu'))
    assert read_config(convert(folder, 'hf', tmp_path / 'out'))[KEY] is True


def test_a_bare_file_is_tied_by_the_config_of_the_folder_named_as_its_base(tmp_path, tied):
    file = tmp_path / 'bare.safetensors'
    shutil.copy(tied / 'model.safetensors', file)
    out = tmp_path / 'out'
    write_conversion(prepare_conversion(file, 'original', tied), out)
    assert compare(out, tied).same and read_config(out)[KEY] is True


def test_a_pth_of_a_tied_model_holds_both(tmp_path, tied, version):
    for to in ('mmllava', 'original', *['mmpretrain'] * (version == 'v1.5')):
        out = convert(tied, to, tmp_path / f'{to}.pth')
        found = torch.load(out, weights_only=True)
        (head,), (embed,) = (
            [n for n in found if part in n] for part in ('lm_head.weight', 'embed_tokens.weight')
        )
        assert torch.equal(found[head], found[embed])


def test_a_delta_of_a_tied_model_to_a_tied_base_and_back(tmp_path):
    base = shutil.copytree(MODELS / 'llama-base', tmp_path / 'base')
    tensors = {}
    for file in base.glob('*.bin'):
        tensors.update(torch.load(file, weights_only=True))
    for file in base.glob('pytorch_model*'):
        file.unlink()
    del tensors[HEAD]
    save_file(tensors, base / 'model.safetensors')
    tell(base, **{KEY: True})
    model = convert(MODELS / 'llava-v1-delta', 'original', tmp_path / 'm', MODELS / 'llama-base')
    tell(without_head(model), **{KEY: True})
    delta = convert(model, 'delta', tmp_path / 'delta', base)
    back = convert(delta, 'original', tmp_path / 'back', base)
    assert read_config(back)[KEY] is True
    found = compare(back, model)
    assert found.same or found.max_difference < 1e-3  # float16 cannot hold every difference
    made = tensors_of(back)
    assert torch.equal(made[HEAD], made[EMBED])


# --- the model in memory ---------------------------------------------------------------


def test_head_and_embedding_of_a_loaded_model_are_one_parameter(tied, version):
    for model in (
        mmllava.load(tied, tower=CLIP, device='cpu'),
        get_model(tiny_config(version), pretrained=str(tied), device='cpu'),
    ):
        assert is_one(model)
        model.half()
        assert is_one(model) and head_of(model).dtype is torch.float16
        names = [n for n, _ in model.named_parameters()]
        assert 'language.lm.lm_head.weight' not in names


def test_a_model_that_was_tied_takes_a_head_of_its_own_again(tmp_path, tied, version):
    untied = convert(MODELS / f'llava-{version}', 'original', tmp_path / 'untied', tower=CLIP)
    model = mmllava.load(tied, tower=CLIP, device='cpu')
    model.load_weights(untied)
    assert not is_one(model) and model.language.config.tie_word_embeddings is False
    assert torch.equal(head_of(model), tensors_of(untied)[HEAD])
    model.load_weights(tied)
    assert is_one(model)
