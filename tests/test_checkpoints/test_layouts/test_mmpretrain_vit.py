"""mmpretrain's own classes compute from its layout what the original's weights give."""

import pytest
import torch
from safetensors.torch import load_file

from mmllava.checkpoints import read_config
from tests.test_checkpoints.conftest import GOLDEN, convert

CLIP = GOLDEN / 'clip-tiny'


@pytest.fixture(scope='module')
def written(tmp_path_factory, whole):
    """The tensors of v1.5 with its tower, in mmpretrain's layout."""
    file = convert(whole['v1.5'], 'mmpretrain', tmp_path_factory.mktemp('file') / 'x.pth')
    return torch.load(file, weights_only=True)


def test_query_key_and_value_are_one_matrix_in_this_order(written, whole):
    tensors = load_file(next(whole['v1.5'].glob('*.safetensors')))
    block = 'model.vision_tower.vision_tower.vision_model.encoder.layers.0.self_attn'
    for what in ('weight', 'bias'):
        parts = [tensors[f'{block}.{letter}_proj.{what}'] for letter in 'qkv']
        assert torch.equal(
            written[f'model.vision_tower.layers.0.attn.qkv.{what}'], torch.cat(parts)
        )


@pytest.mark.slow
@torch.no_grad()
def test_its_vit_sees_what_clip_sees(written):
    from mmpretrain.models import VisionTransformer
    from transformers import CLIPVisionModel

    theirs = CLIPVisionModel.from_pretrained(CLIP).eval()
    told = read_config(CLIP)
    told = told.get('vision_config', told)
    tower = VisionTransformer(  # as in mmpretrain's configs of LLaVA, smaller
        arch=dict(
            embed_dims=told['hidden_size'],
            num_layers=told['num_hidden_layers'],
            num_heads=told['num_attention_heads'],
            feedforward_channels=told['intermediate_size'],
        ),
        img_size=told['image_size'],
        patch_size=told['patch_size'],
        pre_norm=True,
        norm_cfg=dict(type='LN', eps=1e-5),
        layer_cfgs=dict(act_cfg=dict(type='mmpretrain.QuickGELU')),
        final_norm=False,
        out_type='raw',
    )
    tower.eval()
    prefix = 'model.vision_tower.'
    tensors = {n.removeprefix(prefix): t for n, t in written.items() if n.startswith(prefix)}
    tower.load_state_dict(tensors, strict=True)
    pixels = torch.randn(2, 3, told['image_size'], told['image_size'])
    expected = theirs(pixels, output_hidden_states=True).hidden_states[-1]
    (found,) = tower(pixels)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-4
