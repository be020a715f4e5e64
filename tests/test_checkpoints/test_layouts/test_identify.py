"""What a checkpoint is, is told by its tensors; what is not known is refused."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from mmllava.checkpoints import identify, prepare_merge, write_conversion
from mmllava.errors import CheckpointError
from tests.test_checkpoints.conftest import GOLDEN

HF = [
    'language_model.model.embed_tokens.weight',
    'language_model.model.layers.0.mlp.up_proj.weight',
    'multi_modal_projector.linear_1.weight',
    'multi_modal_projector.linear_2.weight',
    'vision_tower.vision_model.embeddings.class_embedding',
]


def saved(folder, names, config=None, file='model.safetensors', rows=8):
    """A folder with small tensors of these names."""
    folder.mkdir(exist_ok=True)
    tensors = {n: torch.ones(rows, 4) if 'weight' in n else torch.ones(4) for n in names}
    if file.endswith('.bin'):
        torch.save(tensors, folder / file)
    else:
        save_file(tensors, folder / file)
    if config is not None:
        (folder / 'config.json').write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ('folder', 'layout', 'depth', 'tower', 'newline', 'rows', 'hidden'),
    [
        ('llama-base', 'llama', 0, False, False, 1000, 48),
        ('llava-v1-delta', 'delta', 1, False, False, 1003, 48),
        ('llava-v1.5', 'original', 2, False, False, 1000, 48),
        ('llava-v1.6', 'original', 2, True, True, 1000, 48),
        ('clip-tiny', 'clip', 0, True, False, None, None),
    ],
)
def test_the_recorded_checkpoints_are_told_apart(
    folder, layout, depth, tower, newline, rows, hidden
):
    kind = identify(GOLDEN / folder)
    assert (kind.layout, kind.projector_depth, kind.has_tower) == (layout, depth, tower)
    assert (kind.has_newline, kind.rows, kind.hidden) == (newline, rows, hidden)


@pytest.mark.parametrize('folder', ['llama-base', 'llava-v1-delta', 'llava-v1.5', 'clip-tiny'])
def test_the_name_of_a_folder_says_nothing(tmp_path, folder):
    copy = shutil.copytree(GOLDEN / folder, tmp_path / 'llava-lora-delta-clip-hf')
    assert identify(copy).layout == identify(GOLDEN / folder).layout


def test_the_reason_names_what_told():
    reason = identify(GOLDEN / 'llava-v1-delta').reason
    assert 'model.mm_projector.weight' in reason and 'model_type llava' in reason
    assert 'model.norm.weight is 0.1' in reason and 'a difference' in reason
    assert 'a whole model' in identify(GOLDEN / 'llava-v1.5').reason


@pytest.mark.parametrize('destination', ['merged', 'merged.pth'])
def test_a_merged_delta_is_no_delta(pair, destination):
    write_conversion(prepare_merge(pair.base, pair.delta), pair.root / destination)
    assert identify(pair.root / destination).layout == 'original'


@pytest.mark.parametrize(
    ('layout', 'names'),
    [
        ('hf', HF),
        ('hf', [f'model.{n}'.replace('language_model.model', 'language_model') for n in HF]),
        ('mmpretrain', ['model.lang_encoder.model.embed_tokens.weight']),
        ('mmpretrain', ['model.lang_encoder.model.mm_projector.weight', 'model.vision_tower.x']),
        ('mmllava', ['language.lm.model.norm.weight', 'projector.layers.0.weight']),
        ('projector', ['model.mm_projector.0.weight', 'model.mm_projector.2.weight']),
    ],
)
def test_every_layout_is_told_by_its_names(tmp_path, layout, names):
    assert identify(saved(tmp_path / 'x', names)).layout == layout


def test_a_projector_folder_is_read_by_its_file(tmp_path):
    names = ['model.mm_projector.weight', 'model.mm_projector.bias']
    kind = identify(saved(tmp_path / 'x', names, file='mm_projector.bin'))
    assert (kind.layout, kind.projector_depth, kind.hidden, kind.rows) == ('projector', 1, 8, None)


def test_a_lora_folder_needs_its_config(tmp_path):
    name = 'base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight'
    folder = saved(tmp_path / 'x', [name], file='adapter_model.safetensors')
    with pytest.raises(CheckpointError, match=r'adapter_config.json is not beside it'):
        identify(folder)
    (folder / 'adapter_config.json').write_text('{}')
    assert identify(folder).layout == 'lora'


def test_a_model_beside_an_adapter_is_refused(tmp_path):
    folder = saved(tmp_path / 'x', HF)
    saved(folder, HF, file='adapter_model.safetensors')
    with pytest.raises(CheckpointError, match=r'holds a model .* and an adapter'):
        identify(folder)


@pytest.mark.parametrize(
    ('names', 'config', 'message'),
    [
        (['h.0.attn.weight'], {}, r'holds h.0.attn.weight; expected the names of one of delta,'),
        (['transformer.wte.weight'], {}, r'LLaVA on MPT is not known here'),
        (HF, dict(model_type='vipllava'), r"says model_type 'vipllava'; expected of layout hf"),
        (
            ['model.layers.0.x', 'model.mm_projector.weight'],
            {},
            r'a projector and no model.norm',
        ),
        (['vision_model.x'], dict(model_type='siglip'), r"model_type 'siglip'"),
    ],
)
def test_what_is_not_known_is_refused(tmp_path, names, config, message):
    with pytest.raises(CheckpointError, match=message):
        identify(saved(tmp_path / 'x', names, config))


def test_quantised_weights_are_refused(pair):
    delta = pair.tensors(pair.delta)
    pair.replace(pair.delta, delta | {'model.norm.weight': torch.ones(48, dtype=torch.int8)})
    with pytest.raises(CheckpointError, match=r'model.norm.weight is int8.*Quantised'):
        identify(pair.delta)
