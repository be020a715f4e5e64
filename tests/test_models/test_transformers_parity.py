"""transformers' own LLaVA and LLaVA-NeXT, with our weights, give our logits and our answers.

They share no code with ours above the language model's and the tower's blocks: prompts come
to them with one placeholder for each feature, images as padded stacks of tiles.
"""

import pytest
import torch
from mmengine.structures import BaseDataElement
from PIL import Image

from mmllava.compat import inner_vision_model
from mmllava.images.clip import to_square
from mmllava.images.load import load_image
from mmllava.models.llava import Llava
from mmllava.structures import IMAGE_TOKEN_INDEX
from tests.conftest import MODELS

WORDS = 1000  # of the recorded tokenizer; transformers' placeholder is one row more
TOWER = dict(
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=3,
    num_attention_heads=2,
    image_size=56,
    patch_size=14,
)
LANGUAGE = dict(
    vocab_size=WORDS + 1,
    hidden_size=48,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    max_position_embeddings=2048,
    rms_norm_eps=1e-5,
)
PINPOINTS = [(56, 112), (112, 56), (112, 112), (168, 56), (56, 168)]  # (width, height)
#: form -> settings of ours
FORMS = {
    'v1.5': dict(mm_patch_merge_type='flat'),
    'v1.6': dict(mm_patch_merge_type='spatial_unpad', image_grid_pinpoints=PINPOINTS),
    'v1.6, Mistral': dict(mm_patch_merge_type='spatial_unpad', image_grid_pinpoints=PINPOINTS),
}
SIZES = [(56, 56), (200, 90), (91, 340), (300, 100), (100, 301), (30, 30), (511, 512), (640, 48)]
#: images of each row of a batch, by number in SIZES, and its question
BATCHES = {
    'one image': [([0], 'What is it?')],
    'another size': [([1], 'What is it?')],
    'several images': [([2, 3, 4], 'What do they share?')],
    'images in the text': [([5, 6], 'Compare <image> with <image>, please.')],
    'no image': [([], 'Who are you?')],
    'rows of every kind': [
        ([7], 'Why?'),
        ([1, 2], 'A long question, that takes more tokens than those beside it do. Why?'),
        ([], 'Hello'),
        ([6], 'What is in front of <image> and what is behind it?'),
    ],
}


def seeded(form):
    """Ours, with random weights large enough that answers differ from image to image."""
    torch.manual_seed(7)
    mistral = dict(model_type='mistral', num_key_value_heads=2, sliding_window=None)
    model = Llava(
        vision_encoder=dict(type='mmllava.CLIPVisionTower', **TOWER),
        lang_encoder=dict(
            type='mmllava.LanguageModel', **LANGUAGE, **(mistral if 'Mistral' in form else {})
        ),
        tokenizer=dict(type='mmllava.LlamaTokenizer', name_or_path=str(MODELS / 'tokenizer')),
        template='mistral_instruct' if 'Mistral' in form else 'vicuna_v1',
        task='vqa',
        preset='vqa_open',
        generation_cfg=dict(max_new_tokens=12),
        mm_proj_depth=2,
        **FORMS[form],
    )
    model.init_weights()
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.ndim > 1:
                weights.normal_(0, 0.15)
            elif name.endswith('bias'):
                weights.normal_(0, 0.1)
        model.language.lm.lm_head.weight[WORDS] = 0  # the placeholder is never an answer
    return model.eval()


def as_transformers(model, form):
    """transformers' model with the same weights, part by part."""
    import transformers
    from transformers import CLIPVisionConfig

    settings = dict(
        vision_config=CLIPVisionConfig(**TOWER),
        text_config=model.language.config,
        image_token_index=WORDS,
        projector_hidden_act='gelu',
        vision_feature_layer=-2,
        vision_feature_select_strategy='default',
    )
    if form == 'v1.5':
        theirs = transformers.LlavaForConditionalGeneration(transformers.LlavaConfig(**settings))
    else:
        grid = [[height, width] for width, height in PINPOINTS]
        config = transformers.LlavaNextConfig(**settings, image_grid_pinpoints=grid)
        theirs = transformers.LlavaNextForConditionalGeneration(config)
    tower = inner_vision_model(theirs.model.vision_tower)
    tower.embeddings.load_state_dict(model.vision_tower.embeddings.state_dict())
    tower.pre_layrnorm.load_state_dict(model.vision_tower.pre_layrnorm.state_dict())
    tower.encoder.layers.load_state_dict(model.vision_tower.layers.state_dict())
    first, _, second = model.projector.layers
    theirs.model.multi_modal_projector.linear_1.load_state_dict(first.state_dict())
    theirs.model.multi_modal_projector.linear_2.load_state_dict(second.state_dict())
    theirs.model.language_model.load_state_dict(model.language.lm.model.state_dict())
    theirs.lm_head.load_state_dict(model.language.lm.lm_head.state_dict())
    if model.image_newline is not None:
        theirs.model.image_newline.data.copy_(model.image_newline)
    return theirs.eval()


@pytest.fixture(scope='module', params=list(FORMS))
def pair(request):
    """(form, ours, transformers')."""
    model = seeded(request.param)
    return request.param, model, as_transformers(model, request.param)


@pytest.fixture(scope='module')
def pictures():
    """An image of each size: the recorded ones, resized."""
    found = []
    for number, size in enumerate(SIZES):
        image = load_image(MODELS / f'images/{number % 6}.png')
        found.append(image.resize(size, Image.Resampling.BICUBIC))
    return found


def our_batch(model, form, rows, pictures):
    """The samples of a batch through our own preprocessing."""
    from mmllava.images.anyres import tiles

    inputs, samples = [], []
    for numbers, question in rows:
        own = []
        for number in numbers:
            if form == 'v1.5':
                own.append(torch.from_numpy(to_square(pictures[number], 56, 'pad')))
            else:
                own.append(torch.from_numpy(tiles(pictures[number], 56, PINPOINTS)))
        inputs.append([picture.movedim(-1, -3) for picture in own])
        shapes = [pictures[number].size[::-1] for number in numbers]
        samples.append(BaseDataElement(question=question, metainfo=dict(ori_shape=shapes)))
    return model.data_preprocessor(dict(inputs=inputs, data_samples=samples))


def their_pixels(form, images):
    """transformers' processors on Pillow images: pixels, and for v1.6 their sizes."""
    import transformers

    sizes = dict(size=dict(shortest_edge=56), crop_size=dict(height=56, width=56))
    if form == 'v1.5':
        squares = []
        for image in images:
            side = max(image.size)
            canvas = Image.new('RGB', (side, side), (122, 116, 104))
            canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
            squares.append(canvas)
        name = next(n for n in ('CLIPImageProcessorPil', 'CLIPImageProcessor') if _has(n))
        return dict(getattr(transformers, name)(**sizes)(squares, return_tensors='pt'))
    grid = [[height, width] for width, height in PINPOINTS]
    name = next(n for n in ('LlavaNextImageProcessorPil', 'LlavaNextImageProcessor') if _has(n))
    processor = getattr(transformers, name)(**sizes, image_grid_pinpoints=grid)
    return dict(processor(images, return_tensors='pt'))


def _has(name):
    import transformers

    return hasattr(transformers, name)


def their_batch(model, form, rows, pictures):
    """The same samples as transformers takes them: one placeholder for each feature."""
    ids, images = [], []
    for numbers, question in rows:
        own = [pictures[number] for number in numbers]
        prompt = model.prompt_builder.encode_prompt(BaseDataElement(question=question), len(own))
        lengths = iter(_num_features(form, image) for image in own)
        row = []
        for id_ in prompt.input_ids:
            row += [WORDS] * next(lengths) if id_ == IMAGE_TOKEN_INDEX else [id_]
        ids.append(row)
        images += own
    longest = max(map(len, ids))
    batch = dict(
        input_ids=torch.tensor([[0] * (longest - len(row)) + row for row in ids]),
        attention_mask=torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in ids]),
    )
    return batch | (their_pixels(form, images) if images else {})


def _num_features(form, image):
    """transformers' own count, from its processor of text."""
    if form == 'v1.5':
        return 16
    from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor

    class Counter(LlavaNextProcessor):
        def __init__(self):
            self.patch_size, self.vision_feature_select_strategy = 14, 'default'
            self.num_additional_image_tokens = 1
            self.image_processor = type('P', (), {})()
            self.image_processor.image_grid_pinpoints = [[h, w] for w, h in PINPOINTS]

    # The class token is counted there, and taken off by whoever calls.
    return Counter()._get_number_of_features(image.height, image.width, 56, 56) - 1


@torch.no_grad()
@pytest.mark.parametrize('name', list(BATCHES))
def test_logits_are_those_of_transformers(pair, pictures, name):
    form, ours, theirs = pair
    rows = BATCHES[name]
    logits = ours(**our_batch(ours, form, rows, pictures), mode='tensor')
    batch = their_batch(ours, form, rows, pictures)
    positions = (batch['attention_mask'].cumsum(-1) - 1).clamp(min=0)
    expected = theirs(**batch, position_ids=positions).logits
    assert logits.shape == expected.shape
    real = batch['attention_mask'].bool()
    assert (logits - expected)[real].abs().max() < 1e-4
    assert expected[real].std() > 0.3  # logits that are all alike would prove nothing


@torch.no_grad()
@pytest.mark.parametrize('name', list(BATCHES))
def test_greedy_answers_are_those_of_transformers(pair, pictures, name, monkeypatch):
    form, ours, theirs = pair
    rows = BATCHES[name]
    given = []
    monkeypatch.setattr(
        ours.prompt_builder, 'decode_answer', lambda ids: given.append(list(ids)) or 'text'
    )
    ours(**our_batch(ours, form, rows, pictures), mode='predict')
    batch = their_batch(ours, form, rows, pictures)
    out = theirs.generate(
        **batch, do_sample=False, max_new_tokens=12, eos_token_id=2, pad_token_id=0
    )
    expected = out[:, batch['input_ids'].shape[1] :].tolist()
    assert [_until_end(row) for row in given] == [_until_end(row) for row in expected]


def _until_end(ids):
    """An answer's ids; what fills a row after its end is not of the answer."""
    return ids[: ids.index(2) + 1] if 2 in ids else ids


def test_answers_differ_from_picture_to_picture(pair, pictures):
    form, ours, _ = pair
    answers = {
        ours(**our_batch(ours, form, [([k], 'What is it?')], pictures))[0].pred_answer
        for k in range(4)
    }
    assert len(answers) == 4
