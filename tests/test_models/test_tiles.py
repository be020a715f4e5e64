"""Tiles become one row: against loops, against transformers, against the original's logits."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmllava.checkpoints import read_entries
from mmllava.checkpoints.layouts.partial import own_entries
from mmllava.errors import ConfigError, ImageError, ShapeError
from mmllava.images.anyres import grid_shape, num_tokens, tiles, unpad_rectangle
from mmllava.images.load import load_image
from mmllava.models import CLIPVisionTower, LanguageModel, MlpProjector
from mmllava.models.splice import collate, splice
from mmllava.models.tiles import MERGE_TYPES, merge_tiles
from mmllava.models.weights import to_tensor
from mmllava.structures import CLIP_MEAN, CLIP_STD, IGNORE_INDEX, EncodedPrompt
from tests.conftest import MODELS

FOLDER = MODELS / 'llava-v1.6'
PINPOINTS = [
    tuple(p) for p in json.loads((FOLDER / 'config.json').read_text())['image_grid_pinpoints']
]
SIDE, CHANNELS = 4, 3  # patches of a tile's side at 56 px, patch 14
SIZES = st.tuples(st.integers(1, 400), st.integers(1, 400))


def numbered_features(size):
    """Features of an image's tiles, no two values equal, and a newline."""
    columns, rows = grid_shape(size, PINPOINTS, 56)
    count = (1 + columns * rows) * SIDE**2 * CHANNELS
    features = torch.arange(count, dtype=torch.float32).view(-1, SIDE**2, CHANNELS)
    return features, -torch.arange(1.0, CHANNELS + 1)


def merge_by_loops(features, size, newline, merge_type):
    """The slow, obvious way: look up each patch of the grid in its tile."""
    if merge_type == 'flat':
        return torch.stack([patch for tile in features for patch in tile])
    columns, rows = grid_shape(size, PINPOINTS, 56)
    top, bottom, left, right = 0, rows * SIDE, 0, columns * SIDE
    if merge_type == 'spatial_unpad':
        top, bottom, left, right = unpad_rectangle(bottom, right, size)
    merged = list(features[0])
    for y in range(top, bottom):
        for x in range(left, right):
            tile = 1 + (y // SIDE) * columns + x // SIDE
            merged.append(features[tile, (y % SIDE) * SIDE + x % SIDE])
        if merge_type == 'spatial_unpad':
            merged.append(newline)
    return torch.stack(merged)


@settings(deadline=None)
@given(SIZES, st.sampled_from(MERGE_TYPES))
def test_merging_gives_what_loops_over_patches_give(size, merge_type):
    features, newline = numbered_features(size)
    merged = merge_tiles(features, size, PINPOINTS, 56, newline, merge_type)
    assert torch.equal(merged, merge_by_loops(features, size, newline, merge_type))


@settings(deadline=None)
@given(SIZES)
def test_num_tokens_is_the_length_of_what_is_merged(size):
    features, newline = numbered_features(size)
    merged = merge_tiles(features, size, PINPOINTS, 56, newline)
    assert len(merged) == num_tokens(size, PINPOINTS, 56, 14)
    assert len(merge_tiles(features[:1], size, PINPOINTS, 56, newline)) == num_tokens(
        size, None, 56, 14
    )


@pytest.fixture(scope='module')
def next_model():
    """transformers' LLaVA-NeXT, as small as it gets; its pinpoints are (height, width)."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaNextConfig
    from transformers.models.llava_next.modeling_llava_next import LlavaNextModel

    sizes = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(image_size=56, patch_size=14, **sizes),
        text_config=LlamaConfig(vocab_size=9, **sizes),
        image_grid_pinpoints=[[height, width] for width, height in PINPOINTS],
        image_token_index=8,
    )
    return LlavaNextModel(config)


@pytest.mark.parametrize('cut', [True, False])
@pytest.mark.parametrize('number', range(40))
def test_merging_gives_what_transformers_gives(next_model, number, cut):
    from transformers.models.llava_next import modeling_llava_next as theirs

    rng = np.random.default_rng(number)
    size = tuple(rng.integers(1, 400, 2).tolist())
    features, newline = numbered_features(size)
    features = features if cut else features[:1]
    swapped = next_model.config.image_grid_pinpoints
    rows, columns = theirs.get_anyres_image_grid_shape(size[::-1], swapped, 56)
    assert grid_shape(size, PINPOINTS, 56) == (columns, rows)
    grid = torch.arange(rows * SIDE * columns * SIDE).view(1, rows * SIDE, columns * SIDE)
    top, bottom, left, right = unpad_rectangle(rows * SIDE, columns * SIDE, size)
    assert torch.equal(grid[:, top:bottom, left:right], theirs.unpad_image(grid, size[::-1]))
    (expected,), lengths = next_model.pack_image_features(
        [features], torch.tensor([size[::-1]]), 'default', newline
    )
    merged = merge_tiles(features, size, PINPOINTS, 56, newline)
    assert torch.equal(merged, expected) and len(merged) == lengths.item()


def test_a_picture_that_was_not_cut_ends_with_a_newline_only_when_unpadded():
    features, newline = numbered_features((9, 9))
    one = {m: merge_tiles(features[:1], (9, 9), PINPOINTS, 56, newline, m) for m in MERGE_TYPES}
    assert torch.equal(one['flat'], features[0]) and torch.equal(one['spatial'], features[0])
    assert torch.equal(one['spatial_unpad'], torch.cat([features[0], newline[None]]))


@pytest.mark.parametrize('merge_type', ['flat', 'spatial'])
def test_only_unpadding_needs_a_newline(merge_type):
    features, newline = numbered_features((300, 100))
    with_it = merge_tiles(features, (300, 100), PINPOINTS, 56, newline, merge_type)
    without = merge_tiles(features, (300, 100), PINPOINTS, 56, merge_type=merge_type)
    assert len(without) == 4 * 16 and torch.equal(without, with_it)


def test_the_newline_takes_the_type_of_the_features_and_learns():
    features, newline = numbered_features((300, 100))
    newline.requires_grad_()
    merged = merge_tiles(features.bfloat16(), (300, 100), PINPOINTS, 56, newline)
    uncut = merge_tiles(features[:1].bfloat16(), (300, 100), PINPOINTS, 56, newline)
    assert merged.dtype == uncut.dtype == torch.bfloat16
    merged.sum().backward()
    assert newline.grad.tolist() == [4.0] * CHANNELS  # once for each of four rows


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        (dict(merge_type='spatial_unpd'), ConfigError, 'Did you mean spatial_unpad'),
        (dict(image_newline=None), ConfigError, 'ends lines with image_newline, got None'),
        (dict(image_newline=torch.zeros(5)), ShapeError, r'image_newline is \(5,\), but .* 3 chan'),
        (dict(features=torch.zeros(3, 16, 3)), ShapeError, 'came as 2 tiles .* expected 3x1 tiles'),
        (dict(features=torch.zeros(4, 17, 3)), ShapeError, '17 features .* select_feature=.patch'),
        (dict(features=torch.zeros(16, 3)), ShapeError, r'are \(16, 3\), expected \(tiles, patch'),
        (dict(features=torch.zeros(0, 16, 3)), ShapeError, r'are \(0, 16, 3\), expected \(tiles'),
        (dict(pinpoints=[]), ConfigError, 'the list of resolutions is empty'),
        (dict(size=(0, 9)), ImageError, 'an image of 0x9 pixels shows nothing'),
    ],
)
def test_tiles_that_do_not_fit_are_refused(change, error, message):
    settings = dict(
        features=torch.zeros(4, 16, 3),
        size=(300, 100),
        pinpoints=PINPOINTS,
        size_px=56,
        image_newline=torch.zeros(3),
    )
    assert len(merge_tiles(**settings)) == num_tokens((300, 100), PINPOINTS, 56, 14)
    with pytest.raises(error, match=message):
        merge_tiles(**{**settings, **change})


@pytest.fixture(scope='module')
def parts():
    """Tower, projector, language model and newline of the recorded v1.6, with its weights."""
    entries = read_entries(FOLDER)
    tensors = {name: to_tensor(entry) for name, entry in own_entries(entries).items()}
    made = dict(
        vision_tower=CLIPVisionTower(name_or_path=MODELS / 'clip-tiny'),
        projector=MlpProjector(32, 48, depth=2),
        language=LanguageModel(name_or_path=FOLDER),
    )
    for prefix, module in made.items():
        own = {f'{prefix}.{name}': name for name, _ in module.named_parameters()}
        module.load_state_dict({name: tensors[full] for full, name in own.items()}, strict=True)
        module.eval()
    return [*made.values(), to_tensor(entries['model.image_newline'])]


def pixels_of(image):
    """Normalised tiles ``(T, 3, 56, 56)``."""
    mean, std = torch.tensor(CLIP_MEAN), torch.tensor(CLIP_STD)
    views = torch.from_numpy(tiles(image, 56, PINPOINTS))
    return ((views / 255 - mean) / std).permute(0, 3, 1, 2)


@torch.no_grad()
@pytest.mark.parametrize('number', range(12))
def test_logits_are_the_originals(parts, golden, golden_arrays, number):
    tower, projector, language, newline = parts
    row = golden['models']['v1.6']['predict'][number]
    image = load_image(MODELS / row['image'])
    features = projector(tower(pixels_of(image)))
    merged = merge_tiles(features, image.size, PINPOINTS, 56, newline)
    prompt = EncodedPrompt(row['input_ids'], [IGNORE_INDEX] * len(row['input_ids']))
    batch = collate([splice(language, prompt, [merged])], 'left')
    logits = language(batch.embeds, batch.mask)[0]
    assert len(logits) == row['merged_len']
    expected = golden_arrays[f'logits/v1.6/{number}']
    assert np.abs(logits[-4:].numpy() - expected).max() < 1e-4
