"""Base + delta is what the original computes; a wrong pair is refused before a byte is written."""

import errno
import hashlib
import json
import os
import shutil
import subprocess

import numpy as np
import pytest
import torch
from safetensors import safe_open

from mmllava.checkpoints import (
    check_write,
    map_tensor,
    plan_merge,
    plan_tower,
    prepare_merge,
    read_entries,
    staging,
    stream,
    write_merge,
)
from mmllava.checkpoints.sidecars import sentence_pieces
from mmllava.errors import CheckpointError
from tests.test_checkpoints.conftest import GOLDEN

EMBED, NORM = 'model.embed_tokens.weight', 'model.norm.weight'
EXPECTED = json.loads((GOLDEN / 'expected.json').read_text())['merged_sha256']


def merge(pair, destination, tower=None, overwrite=False, **options):
    prepared = prepare_merge(pair.base, pair.delta, tower)
    write_merge(prepared, pair.root / destination, overwrite, **options)
    return pair.root / destination


def sums(path):
    entries = read_entries(path)
    return {n: hashlib.sha256(map_tensor(e).tobytes()).hexdigest() for n, e in entries.items()}


@pytest.mark.parametrize('destination', ['merged.pth', 'merged'])
@pytest.mark.parametrize('values', [97, 1000, stream.PIECE_VALUES])
def test_the_recorded_merge_is_met_bit_for_bit(pair, monkeypatch, destination, values):
    monkeypatch.setattr(stream, 'PIECE_VALUES', values)
    assert sums(merge(pair, destination)) == EXPECTED


def test_the_same_merge_gives_the_same_bytes(pair):
    assert merge(pair, 'a.pth').read_bytes() == merge(pair, 'b.pth').read_bytes()


def test_float16_sums_are_those_of_torch(pair):
    random = np.random.default_rng(0)  # any bits but those of Inf and NaN: subnormals, zeros, -0
    a, b = random.integers(0, 2**16, (2, 48_000), dtype=np.uint16).view(np.float16)
    b[:1000] = -a[:1000]
    b[1000:2000] = 0
    a[1000:2000] = -0.0
    with np.errstate(invalid='ignore'):
        small = np.abs(a.astype(np.float32)) + np.abs(b.astype(np.float32)) < 60_000  # else Inf
    a, b = (torch.from_numpy(np.where(small, x, np.float16(1))).view(1000, 48) for x in (a, b))
    base, delta = pair.tensors(pair.base), pair.tensors(pair.delta)
    base['lm_head.weight'] = a
    delta['lm_head.weight'][:1000] = b
    pair.replace(pair.base, base)
    pair.replace(pair.delta, delta)
    expected = delta['lm_head.weight'].clone()
    expected[:1000] += a
    found = torch.from_numpy(map_tensor(read_entries(merge(pair, 'm.pth'))['lm_head.weight']))
    assert torch.equal(found.view(torch.int16), expected.view(torch.int16))


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float64])
def test_a_base_in_another_type_is_rounded_to_float16_first(pair, dtype):
    base, delta = pair.tensors(pair.base), pair.tensors(pair.delta)
    base = {name: (tensor.float() * 1.0003).to(dtype) for name, tensor in base.items()}
    pair.replace(pair.base, base)
    entries = read_entries(merge(pair, 'm.pth'))
    for name in (NORM, 'model.layers.0.mlp.up_proj.weight'):
        expected = delta[name] + base[name].half()
        assert torch.equal(torch.from_numpy(map_tensor(entries[name])), expected)


def test_every_tensor_has_one_fate(pair):
    moves = plan_merge(read_entries(pair.base), read_entries(pair.delta))
    fates = {move.name: move.how for move in moves}
    assert len(fates) == len(moves) == 24
    assert {n for n, how in fates.items() if how == 'grown'} == {EMBED, 'lm_head.weight'}
    assert {n for n, how in fates.items() if how == 'whole'} == {
        'model.mm_projector.weight',
        'model.mm_projector.bias',
    }
    assert [n for n, how in fates.items() if how == 'dropped'] == [
        'model.layers.0.self_attn.rotary_emb.inv_freq'
    ]


def test_rotary_angles_are_dropped_from_the_delta_too(pair):
    delta = pair.tensors(pair.delta)
    delta['model.layers.1.self_attn.rotary_emb.inv_freq'] = torch.zeros(6)
    pair.replace(pair.delta, delta)
    assert sums(merge(pair, 'm.pth')) == EXPECTED


# --- what is written -------------------------------------------------------------------


def test_torch_reads_the_file_as_a_plain_dict(pair):
    file = merge(pair, 'm.pth', tower=pair.tower)
    tensors = torch.load(file, weights_only=True, mmap=True)
    assert type(tensors) is dict and set(EXPECTED) < set(tensors)
    for name, entry in read_entries(file).items():
        assert torch.equal(torch.from_numpy(map_tensor(entry)), tensors[name])
        assert entry.offset % 64 == 0
    assert subprocess.run(['unzip', '-tqq', file]).returncode == 0 if shutil.which('unzip') else 1


def test_safetensors_reads_the_shards_and_their_index(pair):
    folder = merge(pair, 'merged', shard_bytes=100_000)
    index = json.loads((folder / 'model.safetensors.index.json').read_text())
    assert set(index['weight_map']) == set(EXPECTED)
    assert index['metadata']['total_size'] == 288_384
    files = sorted(file.name for file in folder.glob('*.safetensors'))
    assert len(files) > 2 and files == sorted(set(index['weight_map'].values()))
    for file in files:
        with safe_open(folder / file, 'pt') as shard:
            assert shard.metadata() == {'format': 'pt'}
            for name in shard.keys():  # noqa: SIM118 - it is no dict
                assert index['weight_map'][name] == file
                digest = hashlib.sha256(shard.get_tensor(name).numpy().tobytes()).hexdigest()
                assert digest == EXPECTED[name]
        data = sum(e.nbytes for e in read_entries(folder / file).values())
        assert data <= 100_000


def test_a_folder_holds_all_that_loading_needs(pair):
    folder = merge(pair, 'merged', tower=pair.tower)
    for name in ('tokenizer.model', 'tokenizer_config.json', 'added_tokens.json'):
        assert (folder / name).read_bytes() == (pair.delta / name).read_bytes()
    assert (folder / 'preprocessor_config.json').is_file()
    config = json.loads((folder / 'config.json').read_text())
    assert config['torch_dtype'] == 'float16' and config['vocab_size'] == 1003
    said = json.loads((pair.tower / 'config.json').read_text())
    assert config['mm_vision_config'] == {key: said[key] for key in config['mm_vision_config']}
    assert len(config['mm_vision_config']) == 8
    tower = {k: v for k, v in sums(folder).items() if 'vision_tower' in k}
    prefix = 'model.vision_tower.vision_tower.'
    assert tower == {prefix + name: v for name, v in sums(pair.tower).items()}


def test_wrong_token_ids_are_put_right(pair):
    wrong = dict(bos_token_id=0, eos_token_id=1, pad_token_id=0)
    pair.set_config(pair.delta, **wrong)
    (pair.delta / 'generation_config.json').write_text(json.dumps({**wrong, 'use_cache': True}))
    folder = merge(pair, 'merged')
    right = dict(bos_token_id=1, eos_token_id=2, pad_token_id=1000)
    assert json.loads((folder / 'config.json').read_text()).items() >= right.items()
    generation = json.loads((folder / 'generation_config.json').read_text())
    assert generation == {**right, 'use_cache': True}


def test_a_padding_token_without_a_row_is_not_taken(pair):
    added = {'[PAD]': 1003, '<im_patch>': 1000, '<im_start>': 1001, '<im_end>': 1002}
    (pair.delta / 'added_tokens.json').write_text(json.dumps(added))
    settings = json.loads((pair.delta / 'tokenizer_config.json').read_text())
    del settings['added_tokens_decoder']
    (pair.delta / 'tokenizer_config.json').write_text(json.dumps(settings))
    config = json.loads((merge(pair, 'merged') / 'config.json').read_text())
    assert config['pad_token_id'] == 0  # as the delta has it


def test_a_v0_config_gets_the_vision_that_v0_meant(pair):
    file = pair.delta / 'config.json'
    config = {k: v for k, v in json.loads(file.read_text()).items() if not k.startswith('mm_vis')}
    config |= dict(model_type='llama', architectures=['LlamaForCausalLM'])
    file.write_text(json.dumps(config))
    made = json.loads((merge(pair, 'merged') / 'config.json').read_text())
    assert made['mm_vision_tower'] == 'openai/clip-vit-large-patch14'
    assert made['mm_vision_select_layer'] == -1
    assert (made['model_type'], made['architectures']) == ('llava', ['LlavaLlamaForCausalLM'])


def test_the_missing_tower_is_told(pair):
    (note,) = prepare_merge(pair.base, pair.delta).notes
    assert 'vision tower clip-tiny is not included' in note and '--tower' in note
    assert prepare_merge(pair.base, pair.delta, pair.tower).notes == []


def test_the_pieces_of_a_tokenizer_are_read_in_order():
    pieces = sentence_pieces(GOLDEN / 'tokenizer/tokenizer.model')
    assert len(pieces) == 1000
    assert pieces[:4] == ['<unk>', '<s>', '</s>', '<0x00>']


@pytest.mark.parametrize('data', [b'', b'version https://git-lfs', b'\x0a\xff', b'\x80' * 20])
def test_what_is_no_tokenizer_is_refused(pair, data):
    (pair.delta / 'tokenizer.model').write_bytes(data)
    refused(pair, r'tokenizer.model is no SentencePiece model')


# --- a wrong pair ----------------------------------------------------------------------


def refused(pair, message, destination='merged', **options):
    """Merges, expects the message, and sees that the disk is as it was."""
    before = pair.listing()
    with pytest.raises(CheckpointError, match=message) as caught:
        merge(pair, destination, **options)
    assert pair.listing() == before
    return str(caught.value)


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
        write_merge(prepared, pair.root / 'm')
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


# --- the destination -------------------------------------------------------------------


def test_what_exists_is_not_replaced_unless_asked(pair):
    merge(pair, 'm.pth')
    merge(pair, 'm')
    refused(pair, r'm.pth exists already.*--overwrite', destination='m.pth')
    refused(pair, r'm exists already.*--overwrite', destination='m')
    before = (pair.root / 'm.pth').read_bytes()
    (pair.root / 'm.pth').write_bytes(before + b'')
    merge(pair, 'm.pth', overwrite=True)
    merge(pair, 'm', overwrite=True)
    assert sums(pair.root / 'm') == sums(pair.root / 'm.pth') == EXPECTED
    assert sorted(p.name for p in pair.root.iterdir()) == ['base', 'delta', 'm', 'm.pth']


def test_an_empty_folder_is_filled(pair):
    (pair.root / 'm').mkdir()
    assert sums(merge(pair, 'm')) == EXPECTED


def test_a_users_files_are_never_replaced(pair):
    (pair.root / 'thesis').mkdir()
    (pair.root / 'thesis/chapter.tex').write_text('x')
    (pair.root / 'notes.pth').write_text('x')
    overwrite = dict(overwrite=True)
    refused(pair, r'thesis was not written by a merge', destination='thesis', **overwrite)
    refused(pair, r'notes.pth .* was not written by a merge', destination='notes.pth', **overwrite)
    merge(pair, 'm')
    (pair.root / 'm/chapter.tex').write_text('x')
    refused(pair, r'm holds chapter.tex, which no merge wrote', destination='m', **overwrite)
    refused(pair, r'base is where the sources lie', destination='base', **overwrite)
    shard = 'delta/pytorch_model-00001-of-00003.bin'
    refused(pair, r'ends in .bin; a destination', destination=shard, **overwrite)


def test_a_failed_overwrite_keeps_what_was_there(pair, monkeypatch):
    merge(pair, 'm')

    def fails(source, target, rename=os.rename):
        if '.part-' in str(source):
            raise OSError(errno.EIO, 'the disk is broken')
        rename(source, target)

    monkeypatch.setattr(staging.os, 'rename', fails)
    before = pair.listing()
    with pytest.raises(OSError, match='the disk is broken'):
        merge(pair, 'm', overwrite=True)
    assert pair.listing() == before


def test_a_missing_parent_and_a_bare_delta_are_refused(pair):
    refused(pair, r'folder .*nowhere does not exist', destination='nowhere/m')
    (pair.delta / 'tokenizer.model').unlink()
    refused(pair, r'no tokenizer.model or tokenizer.json')
    (pair.delta / 'config.json').unlink()
    refused(pair, r'no config.json, so a folder made of it could not be loaded')
    assert sums(merge(pair, 'm.pth')) == EXPECTED


def test_too_small_a_disk_is_told_before_anything_is_written(pair, monkeypatch):
    usage = shutil.disk_usage('/')._replace(free=5_000_000)
    monkeypatch.setattr(staging.shutil, 'disk_usage', lambda _: usage)
    refused(pair, r'has 0.01 GB free but merged needs 0.02 GB')
    with pytest.raises(CheckpointError, match='GB free but x.pth needs'):
        check_write(prepare_merge(pair.base, pair.delta), pair.root / 'x.pth')


@pytest.mark.parametrize('destination', ['m', 'm.pth'])
def test_ctrl_c_leaves_nothing_behind(pair, destination):
    def interrupt(_):
        raise KeyboardInterrupt

    before = pair.listing()
    with pytest.raises(KeyboardInterrupt):
        merge(pair, destination, progress=interrupt)
    assert pair.listing() == before


@pytest.fixture
def small_disk(pair, tmp_path_factory):
    """A file system of 256 kB, mounted for the test."""
    mount = tmp_path_factory.mktemp('small')
    command = ['mount', '-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', str(mount)]
    try:
        done = subprocess.run(command, capture_output=True)
    except FileNotFoundError:
        pytest.skip('there is no mount command')
    if done.returncode:
        pytest.skip('mounting a file system is not allowed here')
    yield mount
    subprocess.run(['umount', str(mount)], check=True)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('destination', ['m', 'm.pth'])
def test_a_disk_that_fills_up_meanwhile_is_left_as_it_was(
    pair, small_disk, monkeypatch, destination
):
    usage = shutil.disk_usage('/')._replace(free=10**12)  # as if it had had room at the start
    monkeypatch.setattr(staging.shutil, 'disk_usage', lambda _: usage)
    prepared = prepare_merge(pair.base, pair.delta)
    with pytest.raises(OSError, match='No space left'):
        write_merge(prepared, small_disk / destination)
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize('destination', ['m', 'm.pth'])
@pytest.mark.parametrize('after', [0, 1, 3])
def test_a_write_that_fails_leaves_nothing_behind(pair, monkeypatch, destination, after):
    calls = []

    def full(*_):
        calls.append(1)
        if len(calls) > after:
            raise OSError(errno.ENOSPC, 'No space left on device')

    before = pair.listing()
    with pytest.raises(OSError, match='No space left'):
        merge(pair, destination, progress=full)
    monkeypatch.setattr(staging.os, 'fsync', full)
    with pytest.raises(OSError, match='No space left'):
        merge(pair, destination)
    assert pair.listing() == before
