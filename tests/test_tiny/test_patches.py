"""The tower's first stage: what each patch is to say, and that it comes to say it."""

import pytest
import torch
from mmengine.config import Config
from mmpretrain.structures import DataSample

from mmllava.errors import ConfigError, DataError
from mmllava.registry import DATASETS, MODELS
from mmllava.structures import IGNORE_INDEX
from mmllava.tiny import WEIGHTS
from mmllava.tiny.patches import things_of
from mmllava.tiny.scenes import COLORS, KINDS, Scene, Thing
from mmllava.tiny.sets import write_pictures, write_training
from tests.conftest import ROOT

CONFIG = Config.fromfile(ROOT / 'configs/tiny/llava-tiny_tower.py')
SCENE = Scene('rug', (Thing('cat', 'red', 'small', 20, 40), Thing('dog', 'blue', 'big', 90, 80)))


def build(tokenizer=WEIGHTS):
    torch.manual_seed(0)
    settings = dict(CONFIG.model, tokenizer=dict(type='LlamaTokenizer', name_or_path=tokenizer))
    model = MODELS.build({k: v for k, v in settings.items() if k != 'init_cfg'})
    model.init_weights()
    return model


def batch(model, scenes):
    samples = [DataSample() for _ in scenes]
    for sample, scene in zip(samples, scenes, strict=True):
        sample.set_field(things_of(scene), 'things')
    return torch.randn(len(scenes), 3, 112, 112), samples


def test_the_patch_of_a_things_centre_gives_its_words_and_the_others_none():
    there, kinds, colors, sizes, places, order = build().wanted([things_of(SCENE)])
    cat, dog = 2 * 7 + 1, 5 * 7 + 5  # patches of 16 pixels, seven in a row
    assert there[0].nonzero().flatten().tolist() == [cat, dog]
    assert (KINDS[kinds[0, cat]], COLORS[colors[0, dog]]) == ('cat', 'blue')
    last = [[t[0, patch].item() for t in (sizes, places, order)] for patch in (cat, dog)]
    assert last == [[0, 0, 0], [1, 2, 1]]  # small, left, one; big, right, two
    for target in (kinds, colors, sizes, places, order):
        assert (target[0] != IGNORE_INDEX).sum() == 2


def test_each_word_is_the_token_that_a_sentence_has_for_it():
    model = build()
    ids = model.tokenizer.encode('A red cat')
    assert model.word_ids[2][COLORS.index('red')] == ids[-2]
    assert model.word_ids[1][KINDS.index('cat')] == ids[-1]


def test_it_learns_the_words_of_a_picture_and_every_weight_gets_a_gradient():
    model = build().train()
    images, samples = batch(model, [SCENE] * 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss = model(images, samples, mode='loss')['loss']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    assert all(p.grad is not None for p in model.parameters())
    blocks = model.language.lm.model.layers.parameters()
    assert all(not p.grad.any() for p in blocks)


def test_a_tokenizer_without_a_word_is_refused():
    with pytest.raises(ConfigError, match='has no piece of its own for no, thing, fish,'):
        _ = build(ROOT / 'tests/golden/models/tokenizer').word_ids


def test_a_word_that_no_patch_can_say_is_refused():
    brown = dict(things_of(SCENE)[0], words=['cat', 'brown', 'small', 'left', 'one'])
    with pytest.raises(ConfigError, match="unknown word of a patch 'brown'"):
        build().wanted([[brown]])


def test_the_data_set_gives_pictures_with_their_things_and_knows_its_file(tmp_path):
    scenes = write_pictures(tmp_path, 'train', 8)
    write_training(tmp_path, scenes)
    settings = dict(
        CONFIG.train_dataloader.dataset,
        ann_file=str(tmp_path / 'things.json'),
        img_root=str(tmp_path / 'images'),
    )
    data = DATASETS.build(settings)
    sample = data[5]
    assert sample['inputs'].shape == (3, 112, 112) and len(data) == 8
    assert sample['data_samples'].things == things_of(scenes[5])
    before = data.digest()
    (tmp_path / 'things.json').write_text('[]')
    assert data.digest() != before
    with pytest.raises(DataError, match='holds an empty list'):
        DATASETS.build(settings)
    (tmp_path / 'things.json').write_text('[{"image": "../a.png", "things": []}]')
    with pytest.raises(DataError, match='outside of the picture folder'):
        DATASETS.build(settings)
    with pytest.raises(DataError, match='Check the path'):
        DATASETS.build(dict(settings, ann_file=str(tmp_path / 'no.json')))
