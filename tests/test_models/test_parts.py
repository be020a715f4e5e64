"""The parts alone: what goes in, what comes out, what is refused."""

import json

import pytest
import torch
from torch import nn

from mmllava.errors import ConfigError, PromptError, ShapeError
from mmllava.models import CLIPVisionTower, LanguageModel, LlavaDataPreprocessor, MlpProjector
from mmllava.models.mmpretrain_configs import translate
from mmllava.models.splice import collate, splice
from mmllava.structures import IGNORE_INDEX, IMAGE_TOKEN_INDEX, EncodedPrompt
from tests.conftest import MODELS

TOWER = dict(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    image_size=28,
    patch_size=14,
)
LANGUAGE = dict(
    vocab_size=50,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
    max_position_embeddings=64,
)


@torch.no_grad()
@pytest.mark.parametrize(('layer', 'index'), [(-2, 2), (-1, 3), (0, 0), (1, 1)])
def test_the_tower_gives_the_hidden_state_that_transformers_gives(layer, index):
    from transformers import CLIPVisionConfig, CLIPVisionModel

    torch.manual_seed(0)
    tower = CLIPVisionTower(select_layer=layer, **TOWER).eval()
    whole = CLIPVisionModel(CLIPVisionConfig(**TOWER)).eval()
    inner = getattr(whole, 'vision_model', whole)
    inner.embeddings.load_state_dict(tower.embeddings.state_dict())
    inner.pre_layrnorm.load_state_dict(tower.pre_layrnorm.state_dict())
    inner.encoder.layers.load_state_dict(tower.layers.state_dict())
    pixels = torch.randn(2, 3, 28, 28)
    expected = whole(pixels, output_hidden_states=True).hidden_states[index][:, 1:]
    assert torch.allclose(tower(pixels), expected, atol=1e-6)


def test_the_block_after_the_layer_that_is_read_does_not_run():
    tower = CLIPVisionTower(**TOWER)
    ran = []
    for number, block in enumerate(tower.layers):
        block.register_forward_hook(lambda *_, k=number: ran.append(k))
    tower(torch.zeros(1, 3, 28, 28))
    assert ran == [0, 1]


def test_the_class_token_is_dropped_unless_it_is_asked_for():
    pixels = torch.zeros(1, 3, 28, 28)
    assert CLIPVisionTower(**TOWER)(pixels).shape == (1, 4, 32)
    assert CLIPVisionTower(select_feature='cls_patch', **TOWER)(pixels).shape == (1, 5, 32)


def test_sizes_are_read_from_a_folder_and_written_ones_come_first():
    tower = CLIPVisionTower(name_or_path=MODELS / 'clip-tiny', num_hidden_layers=1, select_layer=-1)
    assert (tower.image_size, len(tower.layers)) == (56, 1)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(TOWER, select_layer=-5), 'select_layer=-5 is outside a tower of 3 blocks'),
        (dict(TOWER, patch_sise=14), "'patch_sise'. Did you mean patch_size"),
        (dict(hidden_size=32), 'CLIPVisionTower lacks intermediate_size, num_hidden_layers'),
        (dict(name_or_path='./nowhere'), "there is no folder './nowhere'|nowhere does not exist"),
        (dict(TOWER, select_feature='cls'), "unknown select_feature 'cls'. Did you mean cls_patch"),
    ],
)
def test_a_tower_that_cannot_be_built_says_why(settings, message):
    with pytest.raises((ConfigError, RuntimeError), match=message):
        CLIPVisionTower(**settings)


def test_a_picture_of_another_size_is_refused():
    with pytest.raises(ShapeError, match=r'pixels \(1, 3, 56, 56\), expected \(P, 3, 28, 28\)'):
        CLIPVisionTower(**TOWER)(torch.zeros(1, 3, 56, 56))


def test_a_linear_projector_is_one_layer_and_v1_5_has_gelu_between_two():
    assert [type(layer) for layer in MlpProjector(3, 4, depth=1).layers] == [nn.Linear]
    layers = MlpProjector(3, 4, depth=2).layers
    assert [type(layer) for layer in layers] == [nn.Linear, nn.GELU, nn.Linear]
    assert layers[1].approximate == 'none'  # exact, as the original's


def test_a_projector_refuses_other_channels_and_no_layers():
    with pytest.raises(ShapeError, match=r'features \(1, 2, 5\) but in_dim=3'):
        MlpProjector(3, 4)(torch.zeros(1, 2, 5))
    with pytest.raises(ConfigError, match='needs depth >= 1, got depth=0'):
        MlpProjector(3, 4, depth=0)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(LANGUAGE, model_type='lama'), "unknown language model 'lama'. Did you mean llama"),
        (dict(vocab_size=5), 'LanguageModel lacks hidden_size'),
        (dict(LANGUAGE, vocabsize=5), "'vocabsize'. Did you mean vocab_size"),
    ],
)
def test_a_language_model_that_cannot_be_built_says_why(settings, message):
    with pytest.raises(ConfigError, match=message):
        LanguageModel(**settings)


def test_mistral_is_built_too():
    model = LanguageModel(model_type='mistral', **LANGUAGE)
    assert type(model.lm).__name__ == 'MistralForCausalLM'


def test_a_null_in_a_config_json_is_kept(tmp_path):
    stored = dict(LANGUAGE, model_type='llava_mistral', sliding_window=None)
    (tmp_path / 'config.json').write_text(json.dumps(stored))
    assert LanguageModel(name_or_path=tmp_path).config.sliding_window is None
    assert LanguageModel(model_type='mistral', **LANGUAGE).config.sliding_window == 4096


def test_pixels_are_normalised_in_float32_even_when_the_model_is_not():
    preprocessor = LlavaDataPreprocessor()
    pixels = torch.randint(0, 256, (3, 4, 4), dtype=torch.uint8)
    images = preprocessor.to(torch.bfloat16)(dict(inputs=[pixels]))['images']
    mean = torch.tensor(preprocessor.mean).view(3, 1, 1)
    std = torch.tensor(preprocessor.std).view(3, 1, 1)
    assert images.dtype == torch.float32
    assert torch.allclose(images[0], (pixels / 255 - mean) / std, atol=1e-6)


@pytest.fixture(scope='module')
def language():
    torch.manual_seed(0)
    return LanguageModel(**LANGUAGE)


def plain_splice(language, ids, labels, features):
    """The obvious loop, one token after the other."""
    embeds, targets, features = [], [], list(features)
    for id_, label in zip(ids, labels, strict=True):
        if id_ == IMAGE_TOKEN_INDEX:
            rows = features.pop(0)
            embeds += list(rows)
            targets += [IGNORE_INDEX] * len(rows)
        else:
            embeds.append(language.embed(torch.tensor(id_)))
            targets.append(label)
    return torch.stack(embeds), torch.tensor(targets)


@pytest.mark.parametrize('ids', [[1, -200, 5], [-200, 7], [4, -200], [1, -200, -200, 3], [1, 2]])
def test_splicing_equals_the_obvious_loop(language, ids):
    labels = [IGNORE_INDEX if i == IMAGE_TOKEN_INDEX else i for i in ids]
    features = torch.randn(ids.count(IMAGE_TOKEN_INDEX), 3, 16)
    embeds, targets = splice(language, EncodedPrompt(ids, labels), list(features))
    expected, expected_targets = plain_splice(language, ids, labels, features)
    assert torch.equal(embeds, expected) and torch.equal(targets, expected_targets)


def test_slots_and_pictures_must_agree(language):
    with pytest.raises(PromptError, match='has 1 picture slots but 2 pictures came'):
        splice(language, EncodedPrompt([-200], [-100]), list(torch.zeros(2, 3, 16)))


@pytest.mark.parametrize(('side', 'mask'), [('left', [0, 0, 1]), ('right', [1, 0, 0])])
def test_short_rows_are_padded_on_the_side_that_is_asked_for(side, mask):
    rows = [(torch.ones(n, 4), torch.arange(n)) for n in (3, 1)]
    batch = collate(rows, side)
    assert batch.mask.tolist() == [[1, 1, 1], mask]
    assert (batch.labels[1] == IGNORE_INDEX).tolist() == [not m for m in mask]
    assert batch.embeds[1].sum() == 4


@torch.no_grad()
def test_padding_on_the_left_changes_no_logit(language):
    embeds = torch.randn(1, 5, 16)
    alone = language(embeds, torch.ones(1, 5, dtype=torch.long))
    padded = nn.functional.pad(embeds, (0, 0, 3, 0), value=9.0)
    mask = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1]])
    assert torch.allclose(language(padded, mask)[:, 3:], alone, atol=1e-5)


def test_an_unknown_generation_setting_is_answered_with_the_close_ones(language):
    class Ids:
        bos_id, eos_id, pad_id = 1, 2, 0

    embeds, mask = torch.zeros(1, 2, 16), torch.ones(1, 2, dtype=torch.long)
    with pytest.raises(ConfigError, match="'num_beam'. Did you mean num_beams"):
        language.generate(embeds, mask, Ids, dict(num_beam=3))


def test_upstreams_component_types_become_ours():
    vision = dict(type='VisionTransformer', arch='l', patch_size=14, img_size=336, pretrained='x')
    parts = translate(vision, dict(type='AutoModelForCausalLM'), dict(type='AutoTokenizer'))
    assert [part['type'] for part in parts.values()] == [
        'mmllava.CLIPVisionTower',
        'mmllava.LanguageModel',
        'mmllava.LlamaTokenizer',
    ]
    tower = parts['vision_encoder']
    assert (tower['hidden_size'], tower['pretrained']) == (
        1024,
        'openai/clip-vit-large-patch14-336',
    )
    assert vision['type'] == 'VisionTransformer'  # the user's config is not changed


def test_another_vision_transformer_is_refused():
    vision = dict(type='mmpretrain.VisionTransformer', arch='b', patch_size=16, img_size=224)
    with pytest.raises(ConfigError, match="arch='b', patch_size=16, img_size=224 is no tower"):
        translate(vision, {}, {})
