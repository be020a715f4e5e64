"""mmpretrain's own functions serve our models, and every other model as before."""

import importlib
import subprocess
import sys

import numpy as np
import pytest
import torch

import mmllava
from tests.conftest import MODELS, ROOT, tiny_config

NAMES = {
    'llava-7b-v1_caption': 7_045_816_320,
    'llava-7b-v1.5_caption': 7_062_900_736,
    'llava-7b-v1.5_vqa': 7_062_900_736,
}


def test_the_functions_are_mmpretrains_own():
    import mmpretrain

    assert mmllava.get_model is mmpretrain.get_model
    assert mmllava.inference_model is mmpretrain.inference_model
    with pytest.raises(AttributeError, match="has no attribute 'get_modle'"):
        _ = mmllava.get_modle


@pytest.mark.parametrize(('name', 'parameters'), NAMES.items())
def test_upstreams_names_mean_ours_and_build_without_files_or_memory(name, parameters):
    from mmllava.models import Llava

    model = mmllava.get_model(name)
    assert type(model) is Llava
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert mmllava.get_model(name.upper())._metainfo.name == name
    assert name in mmllava.list_models('llava')


def test_the_caption_task_lists_ours():
    names = mmllava.list_models('llava', task='Image Caption')
    assert {'llava-7b-v1.5_caption', 'llava-7b-v1_caption'} < set(names)
    assert all(name.endswith('_caption') for name in names)


def test_every_other_model_stays_as_it_was():
    model = mmllava.get_model('resnet18_8xb32_in1k', device='cpu')
    assert type(model).__module__.startswith('mmpretrain')
    result = mmllava.inference_model(model, np.zeros((40, 40, 3), np.uint8))
    assert 'pred_label' in result
    assert len(mmllava.list_models()) > 500


def test_other_models_still_load_through_mmengines_loader(tmp_path):
    model = mmllava.get_model('resnet18_8xb32_in1k', device='cpu')
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'r.pth')
    other = mmllava.get_model('resnet18_8xb32_in1k', pretrained=str(tmp_path / 'r.pth'))
    assert torch.equal(other.head.fc.weight, model.head.fc.weight)


def test_applying_the_patches_twice_changes_nothing():
    from mmllava.apis import mmpretrain_patch

    before = mmllava.list_models()
    mmpretrain_patch.apply()
    importlib.reload(mmpretrain_patch).apply()
    assert mmllava.list_models() == before
    assert mmllava.get_model('llava-7b-v1_caption').prompt_builder.task == 'caption'


def values(patches):
    return [vars(patch.owner)[patch.attribute] for patch in patches]


def test_undo_restores_what_was_there_and_apply_patches_it_again(checkpoints):
    from mmpretrain import ImageCaptionInferencer

    from mmllava.apis import mmpretrain_patch as ours

    patched = values(ours.PATCHES)
    assert all(hasattr(value, '_before_mmllava') for value in patched)
    model = mmllava.get_model(tiny_config('v1.5', task='caption'), str(checkpoints['v1.5']))
    try:
        ours.undo()
        restored = values(ours.PATCHES)
        assert restored == [value._before_mmllava for value in patched]
        for value in filter(callable, restored):
            assert value.__module__.split('.')[0] in ('mmengine', 'mmpretrain')
        assert type(ImageCaptionInferencer(model)) is ImageCaptionInferencer
        assert mmllava.list_models('llava') == sorted(NAMES)  # mmpretrain's own
        ours.undo()
        assert values(ours.PATCHES) == restored
    finally:
        ours.apply()
    assert [v._before_mmllava for v in values(ours.PATCHES)] == restored
    assert 'llava-tiny_caption' in mmllava.list_models('llava')
    assert type(ImageCaptionInferencer(model)) is not ImageCaptionInferencer


def test_every_patch_says_why_it_is_there_and_when_it_goes():
    from mmllava.apis.mmpretrain_patch import PATCHES

    assert all(len(patch.why) > 20 and len(patch.until) > 20 for patch in PATCHES)
    places = [(patch.owner, patch.attribute) for patch in PATCHES]
    assert len(set(places)) == len(places)


def test_a_model_from_a_config_or_its_path_is_served_by_inference_model(checkpoints, tmp_path):
    config = tiny_config('v1.5', task='caption')
    config.dump(tmp_path / 'config.py')
    picture = str(MODELS / 'images/0.png')
    results = [
        mmllava.inference_model(
            mmllava.get_model(source, pretrained=str(checkpoints['v1.5'])), picture
        )
        for source in (config, str(tmp_path / 'config.py'))
    ]
    assert results[0] == results[1] and isinstance(results[0]['pred_caption'], str)


def test_settings_of_get_model_override_the_config(checkpoints):
    model = mmllava.get_model(
        tiny_config('v1.5', task='caption'),
        pretrained=str(checkpoints['v1.5']),
        generation_cfg=dict(max_new_tokens=2),
    )
    assert model.generation_cfg['max_new_tokens'] == 2
    assert model.generation_cfg['num_beams'] == 1  # the preset's


def run(code):
    return subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT, timeout=300
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    'imports',
    [
        'import mmllava, mmpretrain',
        'import mmpretrain, mmllava',
        'from mmllava.apis import mmpretrain_patch',
        'import mmllava.models',
    ],
)
def test_the_order_of_imports_does_not_matter_and_nothing_is_printed(imports):
    ask = 'print(mmllava.get_model("llava-7b-v1_caption").prompt_builder.task)'
    done = run(f'{imports}\nimport mmllava\n{ask}')
    assert done.stdout == 'caption\n', done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.slow
def test_importing_mmllava_alone_is_light():
    done = run(
        'import sys, mmllava; print(sorted({"torch", "mmengine", "mmpretrain"} & set(sys.modules)))'
    )
    assert done.stdout == '[]\n', done.stderr


def evil_file(tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / 'ran'), 'w'))

    torch.save(dict(state_dict={}, extra=Payload()), tmp_path / 'evil.pth')
    return str(tmp_path / 'evil.pth')


def test_mmengines_runner_runs_no_code_for_our_models(checkpoints, tmp_path):
    from mmengine.runner import Runner

    from mmllava.errors import CheckpointError

    settings = dict(
        type='mmllava.Llava', **{k: v for k, v in tiny_config('v1.5').model.items() if k != 'type'}
    )
    settings['init_cfg'] = dict(type='Pretrained', checkpoint=str(checkpoints['v1.5']))
    runner = Runner(model=settings, work_dir=str(tmp_path / 'w'), default_scope='mmllava')
    with pytest.raises(CheckpointError):
        runner.load_checkpoint(evil_file(tmp_path))
    assert not (tmp_path / 'ran').exists()


def test_a_wrapped_model_is_loaded_our_way_too(checkpoints, tmp_path):
    from mmengine.runner import load_checkpoint

    from mmllava.errors import CheckpointError

    model = mmllava.get_model(tiny_config('v1.5'), pretrained=str(checkpoints['v1.5']))
    with pytest.raises(CheckpointError):
        load_checkpoint(torch.nn.DataParallel(model), evil_file(tmp_path))
    assert not (tmp_path / 'ran').exists()


def test_an_inferencer_of_a_config_or_its_path_is_ours(checkpoints, tmp_path):
    from mmpretrain import ImageCaptionInferencer

    from mmllava.apis.inferencers import CaptionInferencer

    config = tiny_config('v1.5', task='caption')
    config.dump(tmp_path / 'config.py')
    for source in (config, str(tmp_path / 'config.py')):
        made = ImageCaptionInferencer(source, pretrained=str(checkpoints['v1.5']), device='cpu')
        assert type(made) is CaptionInferencer


def test_inferencers_of_others_are_made_and_copied_as_before(tiny_model):
    import copy

    from mmpretrain import ImageCaptionInferencer

    class Mine(ImageCaptionInferencer):
        def __init__(self, weights=None):
            self.weights = weights

    assert copy.copy(Mine(weights=1)).weights == 1
    assert copy.copy(ImageCaptionInferencer(tiny_model)).model is tiny_model
    assert type(Mine()) is Mine
