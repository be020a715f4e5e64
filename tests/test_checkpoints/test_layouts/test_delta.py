"""Base + delta is what the original computes, and what is written is all that loading needs."""

import hashlib
import json
import shutil
import subprocess

import numpy as np
import pytest
import torch
from safetensors import safe_open

from mmllava.checkpoints import map_tensor, plan_merge, prepare_merge, read_entries
from mmllava.checkpoints.conversion import stream
from mmllava.checkpoints.storage.sentencepiece import sentence_pieces
from tests.test_checkpoints.conftest import EXPECTED, GOLDEN, merge, refused, sums

EMBED, NORM = 'model.embed_tokens.weight', 'model.norm.weight'


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


def v0_words(pair, words, says=None):
    """Makes the config say nothing of start and end words, and the tokenizer name these words."""
    pair.set_config(pair.delta, mm_use_im_start_end=says)
    settings = json.loads((pair.delta / 'tokenizer_config.json').read_text())
    del settings['added_tokens_decoder']
    (pair.delta / 'tokenizer_config.json').write_text(json.dumps(settings))
    (pair.delta / 'added_tokens.json').write_text(json.dumps(words))


CHAT = {'<im_patch>': 1000, '<im_start>': 1001, '<im_end>': 1002, '[PAD]': 1003}
SCIENCE_QA = {'[PAD]': 1000, '<im_patch>': 1001, '<mine>': 1002}


@pytest.mark.parametrize(
    ('words', 'says', 'expected'),
    [(CHAT, None, True), (SCIENCE_QA, None, False), (CHAT, False, False)],
    ids=['chat', 'ScienceQA', 'as it says'],
)
def test_a_config_that_says_nothing_of_start_and_end_gets_what_its_words_tell(
    pair, words, says, expected
):
    v0_words(pair, words, says)
    made = json.loads((merge(pair, 'merged') / 'config.json').read_text())
    assert made['mm_use_im_start_end'] is expected


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ({}, r'does not say mm_use_im_start_end, .* name 1000 of 1003 words, .* neither. .* true'),
        ({'a': 1000, 'b': 1001, '<im_start>': 1002}, r'of <im_start> and <im_end> <im_start>'),
    ],
)
def test_words_that_cannot_tell_of_start_and_end_are_refused(pair, words, message):
    v0_words(pair, words)
    refused(pair, message)


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
