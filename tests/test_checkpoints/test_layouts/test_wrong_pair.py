"""A base and a delta that do not belong together are refused before a byte is written."""

import os
import shutil

import pytest
import torch

from mmllava.checkpoints import plan_tower, prepare_merge, read_entries, write_conversion
from mmllava.errors import CheckpointError
from tests.test_checkpoints.conftest import merge, refused

EMBED, NORM = 'model.embed_tokens.weight', 'model.norm.weight'


def llama(hidden, layers=1, rows=8, extra=()):
    """A LLaMA in name and in shape; torch stores an expanded zero as one value."""
    made = {EMBED: torch.zeros(rows, hidden, dtype=torch.float16), NORM: torch.ones(hidden).half()}
    for k in range(layers):
        made[f'model.layers.{k}.mlp.up_proj.weight'] = torch.zeros(1, hidden).half()
    return made | {name: torch.zeros(1, 1).half() for name in extra}


def test_a_13b_base_with_a_7b_delta_is_refused_naming_both(pair):
    pair.replace(pair.base, llama(5120))
    pair.replace(pair.delta, llama(4096, extra=['model.mm_projector.weight']))
    refused(pair, r'hidden size 5120 \(LLaMA 13B\) but the delta has 4096 \(LLaMA 7B\)')


def test_another_number_of_layers_is_refused(pair):
    pair.replace(pair.base, llama(8, layers=3))
    pair.replace(pair.delta, llama(8, layers=2, extra=['model.mm_projector.weight']))
    refused(pair, r'the base has 3 layers but the delta has 2')


def test_a_merged_base_is_refused(pair):
    merged = merge(pair, 'first')
    shutil.rmtree(pair.base)
    merged.rename(pair.base)
    refused(pair, r'base says of itself that it is LLaVA')
    (pair.base / 'config.json').unlink()
    refused(pair, r'base holds model.mm_projector.* so it is a LLaVA model already')


def test_a_whole_model_in_place_of_the_delta_is_refused(pair):
    merged = merge(pair, 'first')
    shutil.rmtree(pair.delta)
    merged.rename(pair.delta)
    refused(pair, r'norm.weight of the delta is as large as .* This is a whole model')


def test_base_and_delta_in_the_wrong_order_are_refused(pair):
    pair.base, pair.delta = pair.delta, pair.base
    refused(pair, r'LLaVA')


def test_a_base_with_added_words_is_refused(pair):
    base = pair.tensors(pair.base)
    for name in (EMBED, 'lm_head.weight'):
        base[name] = torch.cat([base[name], torch.zeros(1, 48).half()])
    pair.replace(pair.base, base)
    refused(pair, r'the base has 1001 words but LLaMA has 1000: it has words added')


def test_a_base_with_more_words_than_the_delta_is_refused(pair):
    pair.replace(pair.base, pair.tensors(pair.base) | {EMBED: torch.zeros(1004, 48).half()})
    refused(pair, r'has 1004 words but the delta only 1003')


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(hidden_size=4096, rms_norm_eps=1e-5, max_position_embeddings=4096), r'Vicuna 1.5'),
        (dict(_name_or_path='lmsys/vicuna-7b-v1.3'), r'it is lmsys/vicuna-7b-v1.3: Vicuna'),
        (dict(model_type='llava_llama'), r'it is LLaVA'),
        (dict(num_attention_heads=8), r'num_attention_heads is 8 in the config of the base but 4'),
    ],
)
def test_a_base_whose_config_gives_it_away_is_refused(pair, changes, message):
    pair.set_config(pair.base, **changes)
    refused(pair, message)


def test_llama_1_and_names_that_prove_nothing_pass(pair):
    pair.set_config(pair.base, hidden_size=4096, rms_norm_eps=1e-6)
    pair.set_config(pair.base, _name_or_path='/home/me/not-vicuna/llama-7b')
    assert len(prepare_merge(pair.base, pair.delta).kept) == 23


def test_a_vicuna_delta_is_refused(pair):
    delta = pair.tensors(pair.delta)
    pair.replace(pair.delta, {k: v for k, v in delta.items() if 'mm_projector' not in k})
    refused(pair, r'no model.mm_projector.*a Vicuna delta is something else')


def test_tensors_that_do_not_fit_are_named(pair):
    base, delta = pair.tensors(pair.base), pair.tensors(pair.delta)
    q_proj = 'model.layers.0.self_attn.q_proj.weight'
    pair.replace(pair.base, base | {q_proj: torch.zeros(24, 48).half()})
    refused(pair, r'q_proj.weight is \[24, 48\] in the base but \[48, 48\] in the delta')
    pair.replace(pair.base, base | {'model.odd': torch.zeros(1)})
    refused(pair, r'delta has no model.odd, which the base has')
    pair.replace(pair.base, base)
    pair.replace(pair.delta, delta | {'model.vision.odd': torch.zeros(1)})
    refused(pair, r'delta holds model.vision.odd, which the base lacks')
    pair.replace(pair.delta, delta | {NORM: torch.zeros(48, dtype=torch.int8)})
    refused(pair, r'norm.weight of the delta is int8.*Quantised')


@pytest.mark.parametrize('value', [float('nan'), float('inf'), 65504.0])
def test_a_sum_that_is_not_finite_is_named(pair, value):
    q_proj = 'model.layers.1.self_attn.q_proj.weight'
    base, delta = pair.tensors(pair.base), pair.tensors(pair.delta)
    base[q_proj][3, 3] = delta[q_proj][3, 3] = value
    pair.replace(pair.base, base)
    pair.replace(pair.delta, delta)
    refused(pair, rf'{q_proj} has values that are not finite')
    refused(pair, rf'{q_proj} has values that are not finite', destination='m.pth')


def test_a_damaged_source_leaves_nothing_behind(pair):
    shard = pair.delta / 'pytorch_model-00002-of-00003.bin'
    data = shard.read_bytes()
    shard.write_bytes(data[:-1000])
    refused(pair, r'00002-of-00003.bin is cut short')
    shard.unlink()
    refused(pair, r'lacks pytorch_model-00002-of-00003.bin')


def test_a_source_that_shrinks_meanwhile_leaves_nothing_behind(pair):
    prepared = prepare_merge(pair.base, pair.delta)
    shard = pair.delta / 'pytorch_model-00003-of-00003.bin'
    os.truncate(shard, 1000)
    before = pair.listing()
    with pytest.raises(CheckpointError, match=r'00003.bin ends at byte 1,000 but .* goes on to'):
        write_conversion(prepared, pair.root / 'm')
    assert pair.listing() == before


def test_a_tower_of_another_width_is_refused(pair):
    delta = pair.tensors(pair.delta)
    pair.replace(pair.delta, delta | {'model.mm_projector.weight': torch.zeros(48, 40).half()})
    refused(pair, r'mm_projector.weight takes 40 channels but the .* gives 32', tower=pair.tower)


def test_what_is_no_tower_is_refused(pair):
    refused(pair, r'no tensor of the vision tower begins with vision_model.', tower=pair.base)
    entries = read_entries(pair.tower)
    with pytest.raises(CheckpointError, match=r'holds what no CLIP model has: odd'):
        plan_tower(entries | {'odd': next(iter(entries.values()))})


def test_only_the_vision_half_of_a_whole_clip_model_is_taken(pair):
    entries = read_entries(pair.tower)
    one = next(iter(entries.values()))
    others = ['text_model.x', 'logit_scale', 'text_projection.weight', 'visual_projection.weight']
    others.append('vision_model.embeddings.position_ids')
    moves = plan_tower(entries | dict.fromkeys(others, one))
    assert {move.name for move in moves if move.how == 'dropped'} == set(others)


def test_a_tower_config_that_contradicts_its_tensors_is_refused(pair, tmp_path):
    tower = shutil.copytree(pair.tower, tmp_path / 'tower')
    pair.set_config(tower, image_size=224)
    refused(pair, r"says \{'image_size': 224\}, its tensors \{'image_size': 56\}", tower=tower)
