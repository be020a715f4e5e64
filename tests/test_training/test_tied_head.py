"""Training on a tied model: head and embedding stay one parameter, in every checkpoint."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmllava import get_model
from mmllava.checkpoints import prepare_conversion, read_config, write_conversion
from tests.conftest import MODELS, tiny_config
from tests.helpers.training_run import losses, train, training_config

EMBED, HEAD = 'model.embed_tokens.weight', 'lm_head.weight'
STAGES = {
    'projector': dict(train=['projector']),
    'full': dict(train=['projector', 'language']),
    'lora': dict(train=['projector'], lora=dict(r=4, alpha=8)),
}


@pytest.fixture(scope='module')
def tied(tmp_path_factory):
    """The recorded v1.5 without its head, tied by config.json."""
    folder = shutil.copytree(MODELS / 'llava-v1.5', tmp_path_factory.mktemp('tied') / 'model')
    tensors = {}
    for file in sorted(folder.glob('*.safetensors')):
        tensors.update(load_file(file))
        file.unlink()
    (folder / 'model.safetensors.index.json').unlink(missing_ok=True)
    del tensors[HEAD]
    save_file(tensors, folder / 'model.safetensors')
    said = read_config(folder) | dict(tie_word_embeddings=True)
    (folder / 'config.json').write_text(json.dumps(said))
    return folder


def run(tied, folder, stage, *args):
    """Trains four steps, with a checkpoint after two; gives the last one."""
    config = training_config(folder, STAGES[stage], epochs=4)
    config.model.init_cfg = dict(type='Pretrained', checkpoint=str(tied))
    config.default_hooks.checkpoint.update(interval=2, max_keep_ckpts=2)
    assert train(config, folder, *args) == 0
    return folder / 'iter_4'


@pytest.mark.parametrize('stage', STAGES)
def test_a_tied_model_is_trained_resumed_saved_and_converted_tied(tmp_path, tied, stage):
    if stage == 'lora':
        pytest.importorskip('peft')
    whole = run(tied, tmp_path / 'whole', stage)
    shutil.copytree(tmp_path / 'whole/iter_2', tmp_path / 'parts/iter_2')
    resumed = run(tied, tmp_path / 'parts', stage, '--resume')
    assert losses(tmp_path / 'parts') == losses(tmp_path / 'whole')[2:]
    held = load_file(whole / 'model.safetensors')
    again = load_file(resumed / 'model.safetensors')
    assert held.keys() == again.keys() and all(torch.equal(held[n], again[n]) for n in held)
    assert read_config(whole)['tie_word_embeddings'] is True
    assert HEAD not in held and (EMBED in held) is (stage == 'full')
    base = dict(pretrained=str(tied))
    model = get_model(tiny_config('v1.5'), pretrained=str(whole), device='cpu', lang_encoder=base)
    lm = model.language.lm
    assert lm.lm_head.weight is lm.model.embed_tokens.weight
    out = tmp_path / 'out'
    write_conversion(prepare_conversion(whole, 'original', None if stage == 'full' else tied), out)
    assert read_config(out)['tie_word_embeddings'] is True
    made = {n: t for file in out.glob('*.safetensors') for n, t in load_file(file).items()}
    assert torch.equal(made[HEAD], made[EMBED])
    assert torch.equal(made[EMBED], lm.model.embed_tokens.weight)
