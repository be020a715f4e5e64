"""The tower's first stage: what each patch is to tell, and that it comes to tell it."""

import pytest
import torch
from mmengine.config import Config
from mmpretrain.structures import DataSample

from mmllava.errors import ConfigError, DataError
from mmllava.registry import DATASETS, MODELS
from mmllava.structures import IGNORE_INDEX
from projects.llava_tiny.build_dataset import write_images, write_training
from projects.llava_tiny.patch_supervision import things_of, without_color
from projects.llava_tiny.scenes import COLORS, KINDS, Scene, Thing
from tests.conftest import ROOT

CONFIG = Config.fromfile(ROOT / 'projects/llava_tiny/configs/llava-tiny_tower.py')
SCENE = Scene('rug', (Thing('cat', 'red', 'small', 20, 40), Thing('dog', 'blue', 'big', 90, 80)))


def build():
    torch.manual_seed(0)
    model = MODELS.build({k: v for k, v in CONFIG.model.items() if k != 'init_cfg'})
    model.init_weights()
    return model


def batch(scenes):
    samples = [DataSample() for _ in scenes]
    for sample, scene in zip(samples, scenes, strict=True):
        sample.set_field(things_of(scene), 'things')
    return torch.randn(len(scenes), 3, 112, 112), samples


def test_the_patch_of_a_things_centre_tells_of_it_and_the_others_do_not():
    (there, kinds, colors, sizes, places, *counts), across = build().wanted([things_of(SCENE)])
    cat, dog = 2 * 7 + 1, 5 * 7 + 5  # patches of 16 pixels, seven in a row
    assert there[0].nonzero().flatten().tolist() == [cat, dog]
    assert (KINDS[kinds[0, cat]], COLORS[colors[0, dog]]) == ('cat', 'blue')
    last = [[t[0, patch].item() for t in (sizes, places, *counts)] for patch in (cat, dog)]
    assert last == [[0, 0, 0, 0, 0, 0], [1, 2, 1, 0, 0, 1]]  # small, left, one; big, right, two
    for target in (kinds, colors, sizes, places, *counts):
        assert (target[0] != IGNORE_INDEX).sum() == 2
    assert across[0, [cat, dog]].tolist() == pytest.approx([20 / 112, 90 / 112])


def test_things_that_are_alike_are_counted():
    looks = [('cat', 'red'), ('cat', 'blue'), ('dog', 'red'), ('cat', 'red')]
    things = [Thing(*look, 'small', 20 + 20 * k, 40) for k, look in enumerate(looks)]
    counts = [thing['words'][4:] for thing in things_of(Scene('rug', tuple(things)))]
    assert counts == [  # from the left; of the kind; of the kind and colour; the how many-th look
        ['one', 'three', 'two', 'one'],
        ['two', 'three', 'one', 'two'],
        ['three', 'one', 'one', 'three'],
        ['four', 'three', 'two', 'one'],
    ]


@pytest.mark.slow
def test_it_learns_what_is_in_a_picture_and_every_weight_gets_a_gradient(monkeypatch):
    monkeypatch.setattr('projects.llava_tiny.patch_supervision._GREY', 0)
    model = build().train()
    images, samples = batch([SCENE] * 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(20):
        loss = model(images, samples, mode='loss')['loss']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    assert all(p.grad is not None for p in model.parameters())
    assert model.vision_tower.layers[0].mlp.fc1.weight.grad.any()
    channels = model.projector.layers[0].weight.grad.abs().sum(1)
    assert channels[:42].all() and not channels[42:].any()  # 41 words, and how far right
    later = (*model.language.parameters(), *model.projector.layers[2].parameters())
    assert not any(p.grad.any() for p in later)


def test_the_pictures_that_are_not_asked_for_colors_are_those_without(monkeypatch):
    monkeypatch.setattr(torch, 'rand', lambda *size, **kw: torch.tensor([0.0, 1.0]))
    model, seen = build(), []
    images, samples = batch([SCENE] * 2)
    scores = model.scores

    def watch(pixels):
        found = scores(pixels)
        for group in found:
            group.retain_grad()
        seen.extend((pixels, found))
        return found

    model.scores = watch
    model(images, samples, mode='loss')['loss'].backward()
    pixels, words = seen
    assert torch.equal(pixels[0], without_color(images[:1])[0])
    assert torch.equal(pixels[1], images[1])
    assert [words[2].grad[k].any().item() for k in (0, 1)] == [False, True]
    assert [words[1].grad[k].any().item() for k in (0, 1)] == [True, True]


def test_pictures_without_things_have_a_loss_too():
    images, samples = batch([Scene('rug', ())])
    assert build()(images, samples, mode='loss')['loss'].isfinite()


def test_a_projector_too_narrow_for_the_scores_is_refused():
    narrow = dict(CONFIG.model.lang_encoder, hidden_size=20)
    with pytest.raises(ConfigError, match='has 20 channels, and a patch has 42 scores'):
        MODELS.build(dict(CONFIG.model, lang_encoder=narrow, init_cfg=None))


def test_without_color_is_luminance_in_each_channel():
    red, green, blue = torch.eye(3)[..., None, None].unbind()
    pictures = without_color(torch.stack([red, green, blue]))
    for picture, share in zip(pictures, (0.299, 0.587, 0.114), strict=True):
        assert picture.flatten().tolist() == pytest.approx([share] * 3)


@pytest.mark.parametrize('pictures, field', [(2, 'things'), (1, 'conversations')])
def test_samples_of_another_kind_are_refused(pictures, field):
    sample = DataSample()
    sample.set_field([], field)
    with pytest.raises(DataError, match=f'a sample has {pictures} images and {field}'):
        build()([[torch.zeros(3, 112, 112)] * pictures], [sample], mode='loss')


def test_a_word_that_no_patch_can_tell_is_refused():
    brown = dict(things_of(SCENE)[0], words=['cat', 'brown', 'small', 'left', *['one'] * 4])
    with pytest.raises(ConfigError, match="unknown word of a patch 'brown'"):
        build().wanted([[brown]])


def test_the_data_set_gives_pictures_with_their_things_and_knows_its_file(tmp_path):
    scenes = write_images(tmp_path, 'train', 8)
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
    with pytest.raises(DataError, match='lies outside of'):
        DATASETS.build(settings)
    for row in ('7', '{"things": []}', '{"image": "a.png"}', '{"image": "a.png", "things": [{}]}'):
        (tmp_path / 'things.json').write_text(f'[{row}]')
        with pytest.raises(DataError, match='row 0 of .* expected {"image": path, "things"'):
            DATASETS.build(settings)
    with pytest.raises(DataError, match='Check the path'):
        DATASETS.build(dict(settings, ann_file=str(tmp_path / 'no.json')))
