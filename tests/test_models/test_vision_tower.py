"""The vision tower: the hidden state that LLaVA reads, and what is refused."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch

from mmllava.errors import ConfigError, ShapeError
from mmllava.models import CLIPVisionTower
from tests.conftest import MODELS

TOWER = dict(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    image_size=28,
    patch_size=14,
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


@torch.no_grad()
def test_two_threads_may_ask_one_tower():
    """Both wait for one another in every block, so that neither runs alone."""
    tower = CLIPVisionTower(**TOWER).eval()
    pixels = torch.randn(2, 1, 3, 28, 28)
    expected = [tower(image) for image in pixels]
    barrier = Barrier(2, timeout=10)

    def meet(*_):
        barrier.wait()

    for block in tower.layers:
        block.register_forward_hook(meet)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(torch.no_grad()(tower), pixels))
    assert all(map(torch.equal, answers, expected))


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
