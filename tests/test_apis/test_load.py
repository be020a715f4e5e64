"""A folder as LLaVA's authors store it, without a config: what it is, is found in it."""

import json
import re
import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

import mmllava
import mmllava.apis.load
from mmllava import inference_model
from mmllava.errors import CheckpointError, ConfigError
from mmllava.models.detect import config_from_checkpoint
from tests.conftest import MODELS, ROOT, VERSIONS

TOWER = MODELS / 'clip-tiny'


@pytest.fixture
def damaged(tmp_path):
    """v1.5 in a folder of another name, with some of config.json changed; None removes a key."""

    def make(source=MODELS / 'llava-v1.5', **changes):
        folder = tmp_path / 'lora-mistral-v0'
        shutil.copytree(source, folder)
        stored = json.loads((folder / 'config.json').read_text()) | changes
        stored = {key: value for key, value in stored.items() if value is not None}
        (folder / 'config.json').write_text(json.dumps(stored))
        return folder

    return make


@pytest.mark.parametrize('version', VERSIONS)
def test_a_folder_alone_gives_the_originals_answers(golden, checkpoints, version):
    model = mmllava.load(checkpoints[version], tower=TOWER, device='cpu')
    for row in golden['models'][version]['predict'][::4]:
        picture = str(MODELS / row['image'])
        out = inference_model(model, picture, row['question'], max_new_tokens=24)
        assert out['pred_answer'] == row['greedy_text']
    chat = mmllava.ChatSession(model, max_new_tokens=24)
    assert chat.ask(row['question'], picture) == row['greedy_text']


def test_what_was_found_and_why_is_printed(monkeypatch):
    printed = []
    monkeypatch.setattr(mmllava.apis.load, 'print_log', lambda text, logger: printed.append(text))
    mmllava.load(MODELS / 'llava-v1.6', tower=TOWER, device='cpu')
    (said,) = printed
    for line in (
        'layout     original: it holds model.layers.0.',
        'projector  2 linear layer(s), by its tensors',
        'tower      inside the checkpoint; hidden state -2 is read',
        'images     anyres, by image_aspect_ratio, up to 168 px',
        'tokens     nothing around an image, by mm_use_im_start_end; 1,000 rows',
        'template   vicuna_v1: LLaMA with more than one layer in the projector',
    ):
        assert line in said


def test_the_name_of_a_folder_decides_nothing(damaged):
    found = config_from_checkpoint(damaged(), TOWER)
    expected = config_from_checkpoint(MODELS / 'llava-v1.5', TOWER)
    assert found.model['template'] == expected.model['template'] == 'vicuna_v1'
    assert (found.aspect, found.size_px) == (expected.aspect, expected.size_px) == ('pad', 56)


@pytest.mark.parametrize(
    ('task', 'preset', 'field'),
    [
        ('caption', 'coco_short', 'pred_caption'),
        ('vqa', 'vqa_short', 'pred_answer'),
        ('chat', 'vqa_open', 'pred_answer'),
    ],
)
def test_a_task_chooses_question_and_decoding(task, preset, field):
    model = mmllava.load(MODELS / 'llava-v1.5', task, tower=TOWER, device='cpu')
    assert model.prompt_builder.preset is mmllava.models.prompt_builder.get_preset(preset)
    question = [] if task == 'caption' else ['What is it?']
    out = inference_model(model, str(MODELS / 'images/0.png'), *question, max_new_tokens=2)
    assert list(out) == [field] or field in out


def test_settings_come_before_what_was_found():
    model = mmllava.load(
        MODELS / 'llava-v1.5', tower=TOWER, device='cpu', template='llava_v1', dtype='bfloat16'
    )
    assert model.prompt_builder.template_name == 'llava_v1'
    assert str(next(model.parameters()).dtype) == 'torch.bfloat16'
    for slip, meant in (('tempalte', 'template'), ('towr', 'tower')):
        with pytest.raises(ConfigError, match=f"unknown setting '{slip}'. Did you mean {meant}"):
            mmllava.load(MODELS / 'llava-v1.5', **{slip: 'llava_v1'})


#: released checkpoint -> (config.json in part, projector layers, words beside LLaMA's, template)
RELEASED = {
    'LLaVA-7b-delta-v0, merged here': (
        dict(model_type='llava', rms_norm_eps=1e-6, mm_use_im_start_end=True),
        1,
        ['[PAD]', '<im_patch>', '<im_start>', '<im_end>'],
        'llava_v0',
    ),
    'LLaVA-13b-delta-v0, merged by its own script': (
        dict(model_type='llama', rms_norm_eps=1e-6, mm_use_im_start_end=True),
        1,
        ['<im_patch>', '<im_start>', '<im_end>'],
        'llava_v0',
    ),
    'LLaVA-13b-delta-v0-science_qa': (
        dict(model_type='llava', rms_norm_eps=1e-6, mm_use_im_start_end=False),
        1,
        ['<im_patch>'],
        'llava_v0',
    ),
    'LLaVA-Lightning-7B-delta-v1-1': (
        dict(model_type='llava', rms_norm_eps=1e-6, mm_use_im_start_end=True),
        1,
        ['<im_patch>', '<im_start>', '<im_end>'],
        'llava_v1',
    ),
    'llava-v1-0719-336px-lora-merge-vicuna-13b-v1.3': (
        dict(model_type='llava', rms_norm_eps=1e-6),
        1,
        [],
        'llava_v1',
    ),
    'llava-llama-2-13b-chat-lightning-preview': (
        dict(model_type='llava', rms_norm_eps=1e-5),
        1,
        [],
        'llava_llama_2',
    ),
    'llava-llama-2-7b-chat-lightning-lora-preview, with the context put right': (
        dict(model_type='llava', rms_norm_eps=1e-6, max_position_embeddings=4096),
        1,
        [],
        'llava_llama_2',
    ),
    'llava-v1.5-7b': (dict(model_type='llava', rms_norm_eps=1e-5), 2, [], 'vicuna_v1'),
    'llava-v1.6-vicuna-13b': (dict(model_type='llava', rms_norm_eps=1e-5), 2, [], 'vicuna_v1'),
    'llava-v1.6-mistral-7b': (dict(model_type='llava_mistral'), 2, [], 'mistral_instruct'),
    'llava-v1.6-34b': (dict(model_type='llava_llama'), 2, ['<|im_end|>'], 'chatml_direct'),
    'one that says it itself': (
        dict(model_type='llava', mmllava_template='plain'),
        2,
        [],
        'plain',
    ),
}


@pytest.mark.parametrize('name', RELEASED)
def test_each_released_checkpoint_gets_its_template(name):
    from mmllava.models.detect import _template
    from mmllava.prompts.tokenizer import LlamaTokenizer

    config, depth, words, template = RELEASED[name]
    tokenizer = LlamaTokenizer(MODELS / 'tokenizer', extra_tokens=words)
    assert _template(config, SimpleNamespace(projector_depth=depth), tokenizer)[0] == template


def test_a_tower_that_config_json_names_is_taken_from_the_hub_only(damaged, tmp_path):
    """A path in a file is not followed; a hub id is a default that needs no network to be read."""
    released = damaged(mm_vision_tower='openai/clip-vit-large-patch14-336')
    tower = config_from_checkpoint(released).model['vision_encoder']
    assert tower['pretrained'] == 'openai/clip-vit-large-patch14-336'
    assert tower['image_size'] == 336 and tower['num_attention_heads'] == 16
    shutil.rmtree(released)
    for path in (str(TOWER), '../clip'):
        folder = damaged(mm_vision_tower=path)
        with pytest.raises(CheckpointError, match='no hub id and is not looked for elsewhere'):
            config_from_checkpoint(folder)
        shutil.rmtree(folder)


def test_a_merged_folder_with_its_tower_needs_nothing_else(tmp_path):
    from mmllava.checkpoints import prepare_merge, write_conversion

    merge = prepare_merge(MODELS / 'llama-base', MODELS / 'llava-v1-delta', TOWER)
    write_conversion(merge, tmp_path / 'whole')
    model = mmllava.load(tmp_path / 'whole', device='cpu')
    assert (
        model.prompt_builder.template_name == 'llava_v1' and model.prompt_builder.use_im_start_end
    )


@pytest.mark.parametrize('layout', ['mmllava', 'hf'])
@pytest.mark.parametrize('version', ['v1.5', 'v1.6'])
def test_what_the_converter_wrote_is_loaded_and_answers_as_before(
    golden, tmp_path, version, layout
):
    from mmllava.checkpoints import prepare_conversion, write_conversion

    written = tmp_path / 'written'
    write_conversion(prepare_conversion(MODELS / f'llava-{version}', layout, tower=TOWER), written)
    if layout == 'hf':  # and back
        back, written = written, tmp_path / 'back'
        write_conversion(prepare_conversion(back, 'original'), written)
    model = mmllava.load(written, device='cpu')
    row = golden['models'][version]['predict'][0]
    out = inference_model(model, str(MODELS / row['image']), row['question'], max_new_tokens=24)
    assert out['pred_answer'] == row['greedy_text']


@pytest.mark.parametrize(
    ('source', 'changes', 'error', 'message'),
    [
        ('llava-v1-delta', {}, CheckpointError, 'layout delta: .*llava-delta2mmpre.py BASE DELTA'),
        ('llama-base', {}, CheckpointError, 'layout llama: .*Name a LLaVA checkpoint'),
        ('llava-v1.6', {}, CheckpointError, 'number of attention heads is in no tensor.*tower=FO'),
        (
            'llava-v1.5',
            dict(mm_patch_merge_type='spatial_maxpool'),
            ConfigError,
            "unknown mm_patch_merge_type in config.json 'spatial_maxpool'",
        ),
        (
            'llava-v1.5',
            dict(num_attention_heads=7),
            CheckpointError,
            'cannot be divided among 7 att',
        ),
        (
            'llava-v1.5',
            dict(image_aspect_ratio='keep'),
            ConfigError,
            "unknown image_aspect_ratio in config.json 'keep'",
        ),
        (
            'llava-v1.6',
            dict(image_grid_pinpoints='(1x1)', mm_vision_config=dict(num_attention_heads=4)),
            ConfigError,
            r'image_grid_pinpoints in config.json is .*a list of \[width, height\] in pixels',
        ),
    ],
)
def test_what_cannot_be_loaded_says_what_it_is_and_what_to_do(
    damaged, source, changes, error, message
):
    tower = TOWER if source == 'llava-v1.5' else None
    with pytest.raises(error, match=message):
        mmllava.load(damaged(MODELS / source, **changes), tower=tower)


def other_kinds(folder):
    """layout -> a small checkpoint of it."""
    names = ('hf', 'mmpretrain', 'lora', 'projector', 'mmllava', 'partial')
    for name in names:
        (folder / name).mkdir()
    for name, key in (
        ('hf', 'multi_modal_projector.linear_1.weight'),
        ('mmpretrain', 'model.lang_encoder.model.norm.weight'),
        ('mmllava', 'projector.layers.0.weight'),
    ):
        save_file({key: torch.ones(2, 2)}, folder / name / 'model.safetensors')
    adapter = {'base_model.model.model.layers.0.mlp.up_proj.lora_A.weight': torch.ones(2, 2)}
    torch.save(adapter, folder / 'lora/adapter_model.bin')
    (folder / 'lora/adapter_config.json').write_text('{}')
    projector = {'model.mm_projector.weight': torch.ones(2, 2)}
    torch.save(projector, folder / 'projector/mm_projector.bin')
    save_file(projector, folder / 'partial/model.safetensors')
    (folder / 'partial/base.json').write_text('{}')
    inside = {name: folder / name for name in names}
    return dict(inside, clip=TOWER, llama=MODELS / 'llama-base', delta=MODELS / 'llava-v1-delta')


def test_every_kind_but_the_originals_is_answered_with_a_way_out(tmp_path):
    from mmllava.checkpoints.layouts.identify import LAYOUTS
    from mmllava.models.detect import ADVICE

    kinds = other_kinds(tmp_path)
    assert set(ADVICE) == set(kinds) == set(LAYOUTS) - {'original'}
    for layout, folder in kinds.items():
        with pytest.raises(CheckpointError, match=f'layout {layout}: ') as refused:
            mmllava.load(folder, tower=TOWER)
        assert str(refused.value).endswith(ADVICE[layout] + '.')
        for script in re.findall(r'python (tools/[\w./-]+\.py)', ADVICE[layout]):
            assert (ROOT / script).is_file()


def test_what_a_config_json_gets_wrong_changes_no_answer(golden, damaged):
    """Released v0 and v1-1 configs have ids off by one; others are silent on some words."""
    wrong = dict(bos_token_id=0, eos_token_id=1, pad_token_id=0, mm_use_im_patch_token=None)
    folder = damaged(**wrong, vocab_size=32000)
    sampling = dict(do_sample=True, temperature=0.9, top_p=0.6)
    stored = dict(eos_token_id=1, max_length=3, **sampling)
    (folder / 'generation_config.json').write_text(json.dumps(stored))
    model = mmllava.load(folder, tower=TOWER, device='cpu')
    assert len(model.language.lm.lm_head.weight) == 1000  # nothing is resized either
    row = golden['models']['v1.5']['predict'][0]
    picture = str(MODELS / row['image'])
    out = inference_model(model, picture, row['question'], max_new_tokens=24)
    assert out['pred_answer'] == row['greedy_text']


def test_a_prompt_is_not_cut_at_the_tokenizers_length(golden, damaged):
    """The original drops what lies beyond it, the question and ``ASSISTANT:`` first."""
    model = mmllava.load(damaged(tokenizer_model_max_length=40), tower=TOWER, device='cpu')
    row = golden['models']['v1.5']['predict'][0]
    picture = str(MODELS / row['image'])
    out = inference_model(model, picture, row['question'], max_new_tokens=24)
    assert out['pred_answer'] == row['greedy_text']


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
def test_the_precision_is_a_setting(dtype):
    model = mmllava.load(MODELS / 'llava-v1.5', tower=TOWER, device='cpu', dtype=dtype)
    assert {p.dtype for p in model.parameters()} == {getattr(torch, dtype)}


def test_a_grid_written_as_text_is_read(golden, damaged):
    stored = json.loads((MODELS / 'llava-v1.6/config.json').read_text())['image_grid_pinpoints']
    folder = damaged(MODELS / 'llava-v1.6', image_grid_pinpoints=str(stored))
    model = mmllava.load(folder, tower=TOWER, device='cpu')
    row = golden['models']['v1.6']['predict'][0]
    picture = str(MODELS / row['image'])
    out = inference_model(model, picture, row['question'], max_new_tokens=24)
    assert out['pred_answer'] == row['greedy_text']


def test_a_folder_that_transformers_5_saved_keeps_its_rope(damaged):
    rope = dict(rope_type='linear', factor=2.0, rope_theta=5e6)
    model = mmllava.load(damaged(rope_parameters=rope), tower=TOWER, device='cpu')
    frequencies = model.language.lm.model.rotary_emb.inv_freq
    assert frequencies[1].item() == pytest.approx(5e6 ** (-2 / 12) / 2.0)


def test_device_and_device_map_exclude_each_other():
    with pytest.raises(ConfigError, match="device='cpu' and device_map=.* exclude each other"):
        mmllava.load(MODELS / 'llava-v1.5', tower=TOWER, device='cpu', device_map={'': 'cpu'})


def test_a_projector_type_that_the_tensors_contradict_is_told(damaged):
    found = config_from_checkpoint(damaged(mm_projector_type='linear'), TOWER)
    assert found.model['mm_proj_depth'] == 2
    assert "config.json says 'linear', which they are not" in found.reasons[1]


def test_a_tower_that_is_no_clip_is_named():
    with pytest.raises(CheckpointError, match='llama-base has no image_size: it is no CLIP'):
        mmllava.load(MODELS / 'llava-v1.5', tower=MODELS / 'llama-base')


def test_settings_of_config_json_that_are_no_text_or_null_are_taken_as_they_are_meant(damaged):
    found = config_from_checkpoint(
        damaged(mm_projector_type=5, mm_vision_select_feature=None), TOWER
    )
    assert 'which they are not' in found.reasons[1]
    assert found.model['vision_encoder']['select_feature'] == 'patch'


def test_a_file_and_an_unknown_task_are_refused(tmp_path):
    file = tmp_path / 'model.pth'
    file.write_bytes(b'x')
    with pytest.raises(CheckpointError, match=r'is a file, .* use get_model\(CONFIG, pretrained=F'):
        mmllava.load(file)
    with pytest.raises(ConfigError, match="unknown task 'chatt'. Did you mean chat"):
        mmllava.load(MODELS / 'llava-v1.5', 'chatt')
