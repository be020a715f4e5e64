"""A fingerprint is that of the weights, wherever they lie; a run's base is what it started from."""

import shutil

import pytest
from safetensors.torch import load_file, save_file

from mmllava.errors import CheckpointError
from mmllava.models.fingerprints import find_base, tower_mark, weight_marks
from tests.conftest import MODELS
from tests.test_checkpoints.test_layouts.test_lora import adapter
from tests.test_models.test_llava import build
from tests.test_models.test_weights import CLIP, V15, write


def of(checkpoint, **model):
    return build(init_cfg=dict(type='Pretrained', checkpoint=str(checkpoint)), **model)


def test_the_mark_of_a_tower_is_that_of_its_weights(tmp_path):
    model = of(V15)
    mark = tower_mark(model)
    shutil.copytree(MODELS / 'clip-tiny', tmp_path / 'moved')
    model.vision_tower.pretrained = str(tmp_path / 'moved')
    assert tower_mark(model) == mark
    (file,) = (tmp_path / 'moved').glob('*.safetensors')
    save_file({k: 2 * v for k, v in load_file(file).items()}, file)
    assert tower_mark(model) != mark
    model.init_cfg = None
    assert tower_mark(model) is None


def test_the_mark_of_weights_is_the_same_in_every_layout(tmp_path):
    whole = write(V15, 'original', tmp_path / 'whole', tower=CLIP)
    marks = [weight_marks(of(whole))]
    for layout in ('hf', 'mmllava'):
        marks.append(weight_marks(of(write(whole, layout, tmp_path / layout))))
    assert marks[0] == marks[1] == marks[2] and marks[0]['tower'] is None
    apart = weight_marks(of(V15))
    assert apart['checkpoint'] != marks[0]['checkpoint'] and apart['tower'] is not None


def test_the_mark_of_an_adapter_is_another_on_another_base(tmp_path):
    folder, encoder = adapter(tmp_path / 'lora'), build()._parts['lang_encoder']
    marks = [
        weight_marks(of(folder, lang_encoder=dict(encoder, pretrained=str(base))))['checkpoint']
        for base in (V15, MODELS / 'llama-base', V15)
    ]
    assert marks[0] == marks[2] != marks[1]


def test_the_base_of_a_run_is_what_it_started_from(tmp_path):
    hf = write(V15, 'hf', tmp_path / 'hf', tower=CLIP)
    (source, entries), (_, plain) = find_base(of(hf)), find_base(of(V15))
    assert source == str(hf)
    assert plain.keys() == {name for name in entries if not name.startswith('vision_tower.')}
    assert find_base(build()) == (None, {})
    with pytest.raises(CheckpointError, match=r'holds changes to a language model'):
        find_base(of(adapter(tmp_path / 'lora')))
