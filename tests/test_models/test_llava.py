"""The model as a user meets it: built, loaded, moved, asked."""

import copy
import json
import shutil

import pytest
import torch
from mmengine.structures import BaseDataElement

from mmllava import get_model
from mmllava.errors import CheckpointError, ConfigError, DeviceError, PromptError
from mmllava.models.splice import splice
from mmllava.registry import MODELS as REGISTRY
from tests.conftest import MODELS, tiny_config


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """v1.5 in one folder of our own, to damage."""
    folder = tmp_path_factory.mktemp('weights') / 'v1.5'
    shutil.copytree(MODELS / 'llava-v1.5', folder)
    return folder


def build(**model):
    return REGISTRY.build(tiny_config('v1.5', **model).model)


def images(count=1):
    return torch.zeros(count, 3, 56, 56)


def test_a_model_is_only_shapes_until_it_gets_weights():
    model = build()
    assert all(p.is_meta for p in model.parameters())
    with pytest.raises(CheckpointError, match='has no weights yet. Call get_model with pretrained'):
        model(images())


def test_moving_a_model_without_checkpoint_draws_random_weights():
    model = build(task='caption').to('cpu')
    assert model.has_weights
    assert model(images(), mode='tensor').isfinite().all()


def test_building_changes_no_config_and_can_be_repeated():
    config = tiny_config('v1.5').model
    before = copy.deepcopy(config)
    REGISTRY.build(config)
    REGISTRY.build(config)
    assert config == before


@torch.no_grad()
def test_a_prompt_of_v0_is_that_of_its_sentinel_form_picture_features_included(merged):
    model = get_model(tiny_config('v1'), pretrained=str(merged), device='cpu')
    pixels = torch.randn(1, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    legacy = '<im_start>' + '<im_patch>' * 16 + '<im_end>'
    for tag in ('<image>', '<im_start><image><im_end>'):
        sentinel = BaseDataElement(question=f'What is it?\n{tag}')
        old = BaseDataElement(question=f'What is it?\n{legacy}')
        assert model.prompt_builder.encode_prompt(old) == model.prompt_builder.encode_prompt(
            sentinel
        )
        logits = [model(pixels, [sample], mode='tensor') for sample in (old, sentinel)]
        assert torch.equal(*logits)
    model.prompt_builder.prompt_tmpl = f'A chat.###Human: {{question}}\n{legacy}###Assistant:'
    assert model.prompt_builder.encode_prompt(BaseDataElement(question='Why?')).num_images == 1


def test_to_a_model_without_that_word_patches_are_text(source):
    model = get_model(tiny_config('v1.5'), pretrained=str(source), device='cpu')
    sample = BaseDataElement(question='What is <im_patch><im_patch>?')
    assert model.prompt_builder.encode_prompt(sample).num_images == 1


def test_dtype_is_float32_on_cpu_unless_it_is_asked_for(merged):
    model = get_model(tiny_config('v1'), pretrained=str(merged), device='cpu')
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    model = get_model(tiny_config('v1'), pretrained=str(merged), device='cpu', dtype='bfloat16')
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ('change', 'dtype'),
    [('half', torch.float16), ('bfloat16', torch.bfloat16), ('float', torch.float32)],
)
def test_a_dtype_that_the_user_sets_stays(merged, change, dtype):
    model = get_model(tiny_config('v1', task='caption'), pretrained=str(merged))
    getattr(model, change)()
    model(images(), mode='tensor')
    assert {p.dtype for p in model.parameters()} == {dtype}


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
def test_half_precision_runs_on_cpu_too(merged, dtype):
    config = tiny_config('v1', task='caption')
    model = get_model(config, pretrained=str(merged), device='cpu', dtype=dtype)
    assert isinstance(model(images())[0].pred_caption, str)


@pytest.mark.skipif(torch.cuda.is_available(), reason='this machine has CUDA')
@pytest.mark.parametrize('device', ['cuda', 'cuda:3', torch.device('cuda')])
def test_a_gpu_that_is_not_there_is_named(merged, device):
    with pytest.raises(DeviceError, match=r"device 'cuda.*sees 0 CUDA devices. Use device='cpu'"):
        get_model(tiny_config('v1'), pretrained=str(merged), device=device)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(task='chat'), "unknown task 'chat'"),
        (dict(template='vicuna'), "unknown template 'vicuna'. Did you mean vicuna_v1"),
        (dict(preset='coco'), "unknown preset 'coco'. Did you mean coco_short"),
        (dict(dtype='fp16'), "unknown dtype 'fp16'"),
        (dict(mm_hidden_size=7), 'mm_hidden_size=7, but the vision tower has 32 channels'),
        (dict(vision_encoder=dict(type='ClipVisionTower')), 'Did you mean CLIPVisionTower'),
    ],
)
def test_a_setting_that_cannot_work_says_so(settings, message):
    with pytest.raises(ConfigError, match=message):
        build(**settings)


def test_start_and_end_words_beyond_the_matrix_are_refused():
    model = build(use_im_start_end=True)
    with pytest.raises(
        ConfigError, match='<im_start> has id 1000, but the language model embeds 1000'
    ):
        _ = model.tokenizer


def test_an_unknown_mode_is_answered_with_the_known_ones(tiny_model):
    with pytest.raises(ConfigError, match="unknown mode 'tensors'. Did you mean tensor"):
        tiny_model(images(), mode='tensors')


def test_a_question_is_needed_for_vqa(tiny_model):
    with pytest.raises(PromptError, match='task vqa needs a question, got none'):
        tiny_model(images(), [BaseDataElement()])


@torch.no_grad()
def test_a_row_to_learn_from_is_cut_to_the_models_limit(source):
    """After its image is in; what lies beyond is neither read nor learned."""
    talk = [
        {'from': 'human', 'value': '<image>\nWhat?'},
        {'from': 'gpt', 'value': 'It is red. ' * 40},
    ]
    sample = BaseDataElement(conversations=talk)
    pixels = torch.randn(1, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    losses = []
    for limit in (None, 100):
        config = tiny_config('v1.5', max_tokens=limit)
        model = get_model(config, pretrained=str(source), device='cpu')
        out = model(pixels, [sample], mode='loss')
        assert (out['tokens'] == 100) == (limit == 100)
        losses.append(out['loss'])
    assert losses[0] != losses[1]


@torch.no_grad()
def test_a_training_sample_may_hold_several_pictures(source):
    """Its loss is that of the same prompt's logits, counted by hand."""
    model = get_model(tiny_config('v1.5'), pretrained=str(source), device='cpu')
    generator = torch.Generator().manual_seed(0)
    pictures = [torch.randn(3, 56, 56, generator=generator) for _ in range(2)]
    talk = [
        {'from': 'human', 'value': 'Is <image> like <image> ?'},
        {'from': 'gpt', 'value': 'No.'},
    ]
    sample = BaseDataElement(conversations=talk)
    prompt = model.prompt_builder.encode_conversation(sample, 2)
    loss = model([pictures], [sample], mode='loss')['loss']
    features = model.extract_feat([p[None] for p in pictures], [(56, 56)] * 2)
    embeds, labels = splice(model.language, prompt, features)
    assert len(embeds) == len(prompt.input_ids) - 2 + 2 * 16
    logits = model.language(embeds[None], torch.ones(1, len(embeds)).long())[0]
    rows = [k for k, label in enumerate(labels.tolist()) if label >= 0]
    losses = [-logits[k - 1].log_softmax(-1)[labels[k]] for k in rows]
    assert loss.item() == pytest.approx(sum(losses).item() / len(losses), abs=1e-5)
    assert loss != model([pictures[::-1]], [sample], mode='loss')['loss']
    with pytest.raises(PromptError, match=r'has 2 <image> tags but 3 images were given'):
        model([[*pictures, pictures[0]]], [sample], mode='loss')


def test_a_prompt_longer_than_the_context_is_refused(tiny_model):
    sample = BaseDataElement(question='why ' * 3000)
    with pytest.raises(PromptError, match=r'takes [3-9]\d{3} tokens, images included, and the con'):
        tiny_model(images(), [sample])


def test_logits_of_a_prompt_longer_than_the_context_are_refused_too(tiny_model):
    sample = BaseDataElement(question='why ' * 3000)
    with pytest.raises(PromptError, match=r'takes [3-9]\d{3} tokens, images included, and the con'):
        tiny_model(images(), [sample], mode='tensor')


def test_a_word_without_a_row_is_refused_when_a_text_spells_it(source, tmp_path):
    """13B-v0's tokenizer has a [PAD] beyond the matrix; on a GPU it would end the process."""
    folder = tmp_path / 'beyond'
    shutil.copytree(source, folder)
    (folder / 'added_tokens.json').write_text(json.dumps({'[PAD]': 1000}))
    tokenizer = dict(type='mmllava.LlamaTokenizer', name_or_path=str(folder))
    config = tiny_config('v1.5', tokenizer=tokenizer)
    model = get_model(config, pretrained=str(folder), device='cpu')
    assert model(images(), [BaseDataElement(question='What is it?')])[0].pred_answer is not None
    with pytest.raises(PromptError, match='spells token 1000, and the language model has 1000 row'):
        model(images(), [BaseDataElement(question='What is [PAD]?')])


def test_a_conversation_without_an_answer_is_refused(tiny_model):
    talk = [{'from': 'human', 'value': '<image>\nWhat?'}]
    with pytest.raises(PromptError, match='has no answer, so there is nothing to learn'):
        tiny_model(images(), [BaseDataElement(conversations=talk)], mode='loss')


def test_new_tokens_end_where_the_context_ends(tiny_model):
    question = 'why ' * 1800
    ids = tiny_model.prompt_builder.encode_prompt(BaseDataElement(question=question)).input_ids
    room = tiny_model.language.max_tokens - (len(ids) - 1 + 16)
    assert 0 < room < 300
    settings = dict(tiny_model.generation_cfg)
    tiny_model.generation_cfg = dict(settings, max_new_tokens=10_000)
    try:
        out = tiny_model(images(), [BaseDataElement(question=question)])[0]
        assert isinstance(out.pred_answer, str)
    finally:
        tiny_model.generation_cfg = settings


def test_a_prompt_template_of_an_upstream_config_still_works(source):
    config = tiny_config('v1.5', prompt_tmpl='Say what. User: <image>\n{question} ASSISTANT:')
    model = get_model(config, pretrained=str(source), device='cpu')
    prompt = model.prompt_builder.encode_prompt(BaseDataElement(question='Why?'))
    expected = model.tokenizer.encode('\nWhy? ASSISTANT:')[1:]
    assert prompt.num_images == 1 and prompt.input_ids[-len(expected) :] == expected


def test_a_sample_with_an_error_gets_no_answer_and_takes_none_from_its_neighbours(tiny_model):
    question = dict(question='What color is the star?')
    torch.manual_seed(0)
    pixels = torch.randn(3, 3, 56, 56)
    alone = [tiny_model(pixels[k : k + 1], [BaseDataElement(**question)])[0] for k in (0, 2)]
    samples = [BaseDataElement(**question) for _ in range(3)]
    samples[1].set_field('it is damaged', 'error')
    out = tiny_model(pixels, samples)
    assert [s.pred_answer for s in out] == [alone[0].pred_answer, None, alone[1].pred_answer]
    only_bad = [BaseDataElement(**question, error='it is damaged')]
    assert tiny_model(pixels[:1], only_bad)[0].pred_answer is None


def test_a_long_neighbour_does_not_shorten_an_answer(tiny_model):
    torch.manual_seed(0)
    pixels = torch.randn(2, 3, 56, 56)
    samples = [BaseDataElement(question=q) for q in ('What color is the star?', 'why ' * 1960)]
    prompt = tiny_model.prompt_builder.encode_prompt(samples[1]).input_ids
    assert 0 < tiny_model.language.max_tokens - len(prompt) - 16 < 40  # the limit bites
    alone = [
        tiny_model(pixels[k : k + 1], [samples[k].clone()], max_new_tokens=40)[0].pred_answer
        for k in range(2)
    ]
    together = tiny_model(pixels, samples, max_new_tokens=40)
    assert [sample.pred_answer for sample in together] == alone
    assert alone[0] != tiny_model(pixels[:1], samples[:1], max_new_tokens=5)[0].pred_answer


def test_a_misspelt_setting_is_answered_with_the_close_ones():
    with pytest.raises(ConfigError, match="setting of Llava 'templat'. Did you mean template"):
        build(templat='vicuna_v1')


def test_no_new_tokens_are_refused(tiny_model):
    with pytest.raises(ConfigError, match='max_new_tokens is 0, expected a whole number'):
        tiny_model(images(), [BaseDataElement(question='Why?')], max_new_tokens=0)


def test_a_word_that_is_no_device_is_named(merged):
    with pytest.raises(DeviceError, match="'gpu' is no device; expected cpu, cuda or cuda:1"):
        get_model(tiny_config('v1'), pretrained=str(merged), device='gpu')


@pytest.mark.parametrize('name', ['config.json', 'tokenizer_config.json'])
def test_a_damaged_json_file_is_named(source, tmp_path, name):
    folder = tmp_path / 'damaged'
    shutil.copytree(source, folder)
    (folder / name).write_text('{"a": ')
    with pytest.raises((CheckpointError, ConfigError), match=name):
        config = tiny_config(
            'v1.5', tokenizer=dict(type='LlamaTokenizer', name_or_path=str(folder))
        )
        _ = get_model(config, pretrained=str(folder), device='cpu').tokenizer
