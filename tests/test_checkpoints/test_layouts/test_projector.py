"""A projector goes out and onto its base again, with the words around images if it has them."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from mmllava.checkpoints import identify, prepare_conversion, read_config, write_conversion
from mmllava.errors import CheckpointError
from tests.test_checkpoints.conftest import GOLDEN, convert, equal

BASE, V15 = GOLDEN / 'llama-base', GOLDEN / 'llava-v1.5'
EMBED = 'model.embed_tokens.weight'


@pytest.mark.parametrize('name', ['folder', 'projector.bin'])
@pytest.mark.parametrize('version', ['v1.5', 'v1.6'])
def test_a_projector_goes_out_and_onto_its_base_again(tmp_path, whole, version, name):
    there = convert(whole[version], 'projector', tmp_path / name)
    assert identify(there).layout == 'projector'
    tensors = torch.load(
        there / 'mm_projector.bin' if name == 'folder' else there, weights_only=True
    )
    assert {n for n in tensors if 'image_newline' not in n} == {
        f'model.mm_projector.{n}.{w}' for n in (0, 2) for w in ('weight', 'bias')
    }
    equal(convert(there, 'mmllava', tmp_path / 'back', whole[version]), whole[version])


@pytest.mark.parametrize('whole_matrix', [False, True])
def test_a_projector_brings_its_start_and_end_words(tmp_path, whole, whole_matrix):
    there = convert(whole['v1'], 'projector', tmp_path / 'p')
    file, base = there / 'mm_projector.bin', tmp_path / 'base'
    tensors = torch.load(file, weights_only=True)
    words = tensors['model.embed_tokens.weight']
    assert words.shape == (2, 48)
    shutil.copytree(BASE, base)
    shutil.copy(V15 / 'tokenizer.model', base)
    matrix = torch.load(base / 'pytorch_model-00001-of-00002.bin', weights_only=True) | torch.load(
        base / 'pytorch_model-00002-of-00002.bin', weights_only=True
    )
    if whole_matrix:
        rows = torch.cat([matrix['model.embed_tokens.weight'], words])
        torch.save({**tensors, 'model.embed_tokens.weight': rows}, file)
    back = convert(there, 'original', tmp_path / 'back', base)
    made = load_file(back / 'model-00001-of-00001.safetensors')
    assert torch.equal(made['model.embed_tokens.weight'][1000:], words)
    head = matrix['lm_head.weight']
    assert torch.equal(made['lm_head.weight'][:1000], head)
    mean = head.double().mean(0).half()
    assert torch.equal(made['lm_head.weight'][1000:], mean.expand(2, 48))
    added = json.loads((back / 'added_tokens.json').read_text())
    assert added == {'<im_start>': 1000, '<im_end>': 1001}
    assert read_config(back)['mm_use_im_start_end'] is True
    assert read_config(back)['vocab_size'] == 1002


@pytest.mark.parametrize('more', [0, 2])
def test_rows_of_a_projector_that_says_it_has_no_words_are_left_out(tmp_path, whole, more):
    """Such rows are the base's own, or those of words that nothing was trained on."""
    there, base = convert(whole['v1.5'], 'projector', tmp_path / 'p'), whole['v1.5']
    file = there / 'mm_projector.bin'
    tensors = torch.load(file, weights_only=True)
    rows = torch.ones(1000 + more, 48, dtype=torch.float16)
    torch.save({**tensors, 'model.embed_tokens.weight': rows}, file)
    assert read_config(there)['mm_use_im_start_end'] is False
    equal(convert(there, 'mmllava', tmp_path / 'back', base), base)


def test_a_base_that_has_the_words_gets_their_rows_in_place(tmp_path, whole):
    there = convert(whole['v1'], 'projector', tmp_path / 'p')
    equal(convert(there, 'original', tmp_path / 'same', whole['v1']), whole['v1'])
    file = there / 'mm_projector.bin'
    tensors = torch.load(file, weights_only=True)
    matrix = load_file(next(whole['v1'].glob('*.safetensors')))[EMBED]
    for rows in (tensors[EMBED] + 1, torch.cat([matrix[:-2], matrix[-2:] + 1])):
        torch.save({**tensors, EMBED: rows}, file)
        out = tmp_path / f'out-{len(rows)}'
        write_conversion(prepare_conversion(there, 'original', whole['v1']), out)
        made = load_file(next(out.glob('*.safetensors')))[EMBED]
        assert torch.equal(made[:-2], matrix[:-2]) and torch.equal(made[-2:], matrix[-2:] + 1)
        added = json.loads((out / 'added_tokens.json').read_text())
        assert added == {'[PAD]': 1000, '<im_start>': 1001, '<im_end>': 1002}


@pytest.mark.parametrize(
    ('rows', 'message'),
    [
        (1, r'is \[1, 48\]; expected the 2 rows of <im_start> and <im_end>.* One row is that of a'),
        (1001, r'is \[1001, 48\]; expected .* 1000 or at least 1002.* One row is that of a start'),
        (3, r'is \[3, 48\]; expected the 2 rows .* 48 wide. Name the base'),
        (1000, r'<im_start> is word 998 of .*, and .* is that in the tokenizer of'),
    ],
)
def test_rows_that_are_not_those_of_both_words_are_refused(tmp_path, whole, rows, message):
    file = tmp_path / 'mm_projector.bin'
    tensors = load_file(next(whole['v1.5'].glob('*.safetensors')))
    projector = {name: tensor for name, tensor in tensors.items() if 'mm_projector' in name}
    torch.save({**projector, EMBED: torch.ones(rows, 48)}, file)
    with pytest.raises(CheckpointError, match=message):
        prepare_conversion(file, 'mmllava', V15)


def test_a_projector_without_its_weight_is_refused(tmp_path):
    torch.save({'model.mm_projector.bias': torch.ones(48)}, tmp_path / 'mm_projector.bin')
    with pytest.raises(CheckpointError, match=r'lacks model.mm_projector.weight'):
        prepare_conversion(tmp_path / 'mm_projector.bin', 'mmllava', V15)


def test_words_that_a_config_asks_for_and_no_file_names_are_refused(tmp_path, whole):
    there = convert(whole['v1.5'], 'projector', tmp_path / 'p')
    told = json.loads((there / 'config.json').read_text()) | dict(mm_use_im_start_end=True)
    (there / 'config.json').write_text(json.dumps(told))
    with pytest.raises(CheckpointError, match=r'no file names <im_start> and <im_end> as one of'):
        prepare_conversion(there, 'mmllava', whole['v1.5'])


@pytest.mark.parametrize(
    ('name', 'shape', 'message'),
    [
        ('0.bias', (40,), r'mm_projector.0.bias is \[40\]; expected the rows of model.mm_project'),
        ('0.weight', (48, 40), r"says \{'mm_hidden_size': 32\}, its tensors .*40"),
    ],
)
def test_a_projector_that_does_not_fit_itself_or_its_config_is_refused(
    tmp_path, name, shape, message
):
    there = convert(V15, 'projector', tmp_path / 'p')
    tensors = torch.load(there / 'mm_projector.bin', weights_only=True)
    tensors[f'model.mm_projector.{name}'] = torch.ones(shape)
    torch.save(tensors, there / 'mm_projector.bin')
    with pytest.raises(CheckpointError, match=message):
        prepare_conversion(there, 'mmllava', V15)
