"""What the tests share: the recordings of the original, and models on their weights."""

import gc
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

ROOT = Path(__file__).parents[1]
MODELS = ROOT / 'tests/golden/models'
#: version -> (folder with config and tokenizer, aspect of images, projector layers)
VERSIONS = {
    'v1': ('llava-v1-delta', 'square', 1),
    'v1.5': ('llava-v1.5', 'pad', 2),
    'v1.6': ('llava-v1.6', 'anyres', 2),
}

# The same examples each time, so that a run can be repeated. To look for new ones:
# python -m pytest --hypothesis-profile hard tests/test_prompts/test_fuzz.py
settings.register_profile('unit', derandomize=True, deadline=None, database=None)
settings.register_profile('hard', max_examples=5000, deadline=None, database=None)
settings.load_profile('unit')
# The models are tiny: two threads take longer than one, and ten times as long on busy cores.
torch.set_num_threads(1)


@pytest.fixture(scope='session', autouse=True)
def cheap_libraries():
    """Spares what other libraries spend time on in each test, and no test looks at.

    yapf's layout of a config's text took 40 % of a tiny training run; mmengine collects garbage
    for each dataset, 0.3 s over everything that is imported, unless that is frozen.
    """
    from yapf.yapflib import yapf_api

    import mmllava.models  # noqa: F401

    yapf_api.FormatCode = lambda text, **_: (text, False)
    gc.collect()
    gc.freeze()


@pytest.fixture(scope='session')
def golden():
    """The recordings of the original (tests/golden/models)."""
    return json.loads((MODELS / 'expected.json').read_text(encoding='utf-8'))


@pytest.fixture(scope='session')
def golden_arrays():
    """Its pixels and logits."""
    return np.load(MODELS / 'expected.npz')


def tiny_config(version, task='vqa', **model):
    """A config for the recorded tiny models; each part reads its sizes from a folder."""
    from mmengine.config import Config

    folder, aspect, depth = VERSIONS[version]
    source = str(MODELS / folder)
    stored = json.loads((MODELS / folder / 'config.json').read_text())
    grid = {k: stored[k] for k in ('image_grid_pinpoints',) if k in stored}
    pipeline = [
        dict(type='mmllava.LoadImage'),
        dict(type='mmllava.CLIPResize', size=56, aspect=aspect, **grid),
        dict(
            type='mmpretrain.PackInputs',
            algorithm_keys=['question'],
            meta_keys=['image_id', 'img_path', 'ori_shape', 'error'],
        ),
    ]
    settings = dict(
        type='mmllava.Llava',
        tokenizer=dict(type='mmllava.LlamaTokenizer', name_or_path=source),
        vision_encoder=dict(type='mmllava.CLIPVisionTower', name_or_path=str(MODELS / 'clip-tiny')),
        lang_encoder=dict(type='mmllava.LanguageModel', name_or_path=source),
        mm_proj_depth=depth,
        mm_patch_merge_type=stored['mm_patch_merge_type'],
        **grid,
        use_im_start_end=version == 'v1',
        template='llava_v1' if version == 'v1' else 'vicuna_v1',
        task=task,
        preset='vqa_open' if task == 'vqa' else 'describe',
        generation_cfg=dict(max_new_tokens=24),
    )
    return Config(
        dict(
            model={**settings, **model},
            test_dataloader=dict(dataset=dict(type='mmpretrain.COCOVQA', pipeline=pipeline)),
        )
    )


@pytest.fixture(scope='session')
def merged(tmp_path_factory):
    """Recorded base and delta, merged to a folder."""
    from mmllava.checkpoints import prepare_merge, write_conversion

    folder = tmp_path_factory.mktemp('merged') / 'llava-v1'
    write_conversion(prepare_merge(MODELS / 'llama-base', MODELS / 'llava-v1-delta'), folder)
    return folder


@pytest.fixture(scope='session')
def checkpoints(merged):
    """version -> checkpoint folder."""
    return {'v1': merged, 'v1.5': MODELS / 'llava-v1.5', 'v1.6': MODELS / 'llava-v1.6'}


@pytest.fixture(scope='session', params=list(VERSIONS))
def version(request):
    """Each recorded version."""
    return request.param


@pytest.fixture(scope='session')
def tiny_model(version, checkpoints):
    """A recorded model, through the public door."""
    from mmllava import get_model

    return get_model(tiny_config(version), pretrained=str(checkpoints[version]), device='cpu')
