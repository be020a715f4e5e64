"""Over 200 corrupted inputs: each refused in one clear line, nothing written, nothing run.

Each run draws the same ones. To look for new ones, ten times as many:
CORRUPT_SEED=7 CORRUPT_TIMES=10 python -m pytest -k corrupted tests/test_checkpoints
"""

import importlib.util
import json
import os
import pickle
import random
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.test_checkpoints.conftest import GOLDEN

ROOT = Path(__file__).parents[3]
SEED, TIMES = (int(os.environ.get(f'CORRUPT_{name}', n)) for name, n in (('SEED', 0), ('TIMES', 1)))
V15, V16, DELTA = GOLDEN / 'llava-v1.5', GOLDEN / 'llava-v1.6', GOLDEN / 'llava-v1-delta'


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('convert_tool', ROOT / 'tools/convert.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def refuses(tool, tmp_path, capsys, monkeypatch):
    """Runs the tool, expects a refusal, and sees that nothing was written or changed."""
    monkeypatch.setattr(tool.signal, 'signal', lambda *_: None)

    def run(source, *arguments, says=''):
        before = {p: p.read_bytes() for p in source.rglob('*') if p.is_file()}
        there = sorted(os.listdir(tmp_path))
        status = tool.main([str(source), '--out', str(tmp_path / 'out'), *map(str, arguments)])
        told = capsys.readouterr().err
        assert status == 2, f'{source} was taken'
        assert told.startswith('convert: ') and 'Traceback' not in told, told
        assert len(told.strip().splitlines()) == 1 and len(told) > 60, told
        assert says in told, told
        assert sorted(os.listdir(tmp_path)) == there
        assert {p: p.read_bytes() for p in source.rglob('*') if p.is_file()} == before
        return told

    return run


def copies(tmp_path, source, count):
    """Yields a fresh copy of a checkpoint, one at a time."""
    for number in range(count * TIMES):
        folder = tmp_path / f'copy-{number}'
        yield shutil.copytree(source, folder)
        shutil.rmtree(folder)


def flip(file, position, bit):
    data = bytearray(file.read_bytes())
    data[position] ^= 1 << bit
    file.write_bytes(data)


def test_bits_flipped_in_a_safetensors_header(tmp_path, refuses):
    draw = random.Random(1000 * SEED + 1)
    for folder in copies(tmp_path, V15, 50):
        file = draw.choice(sorted(folder.glob('*.safetensors')))
        data = file.read_bytes()
        end = 8 + int.from_bytes(data[:8], 'little')
        # What comes first is the format's name, which nobody needs.
        first = data.index(b'},"' if b'"__metadata__"' in data[:30] else b'"')
        flip(file, draw.choice([*range(8), *range(first, end)]), draw.randrange(8))
        refuses(folder, '--to', 'mmllava')


def test_bits_flipped_in_the_list_of_a_torch_file(tmp_path, refuses):
    draw = random.Random(1000 * SEED + 2)
    for folder in copies(tmp_path, DELTA, 30):
        file = draw.choice(sorted(folder.glob('*.bin')))
        with zipfile.ZipFile(file) as archive:
            (info,) = (i for i in archive.infolist() if i.filename.endswith('data.pkl'))
        data = file.read_bytes()
        start = data.index(b'\x80\x02', info.header_offset)
        flip(file, start + draw.randrange(info.file_size), draw.randrange(8))
        refuses(folder, '--to', 'mmllava', '--base', GOLDEN / 'llama-base')


def test_bits_flipped_in_an_index(tmp_path, refuses):
    draw = random.Random(1000 * SEED + 3)
    for number, folder in enumerate(copies(tmp_path, V15, 20)):
        file = folder / 'model.safetensors.index.json'
        text = file.read_text()
        # Inside the names: what is between them may be any white space.
        names = [k for k, c in enumerate(text) if c.isalnum() and k > text.index('weight_map')]
        flip(file, draw.choice(names), draw.randrange(7))
        refuses(folder, '--to', ['mmllava', 'original'][number % 2])


@pytest.mark.parametrize('source', [V15, DELTA])
def test_files_that_are_cut_short(tmp_path, refuses, source):
    draw = random.Random(1000 * SEED + 4)
    base = ['--base', GOLDEN / 'llama-base'] if source == DELTA else []
    for folder in copies(tmp_path, source, 18):
        file = draw.choice(sorted([*folder.glob('*.safetensors'), *folder.glob('*.bin')]))
        os.truncate(file, int(draw.random() * file.stat().st_size))
        refuses(folder, '--to', 'mmllava', *base)


def test_shards_and_indexes_that_are_missing(tmp_path, refuses):
    for source in (V15, DELTA, V16):
        names = [f.name for f in source.iterdir() if '.bin' in f.name or 'safetensors' in f.name]
        base = ['--base', GOLDEN / 'llama-base'] if source == DELTA else []
        for name in names:
            folder = shutil.copytree(source, tmp_path / 'copy')
            (folder / name).unlink()
            refuses(folder, '--to', 'mmllava', *base)
            shutil.rmtree(folder)


def tensors_of(folder):
    found = {}
    for file in folder.glob('*.safetensors'):
        found.update(load_file(file))
        file.unlink()
    (folder / 'model.safetensors.index.json').unlink()
    return found


def test_tensors_of_a_wrong_shape(tmp_path, refuses):
    draw = random.Random(1000 * SEED + 6)
    for number, folder in enumerate(copies(tmp_path, V16, 25)):
        tensors = tensors_of(folder)
        name = draw.choice(sorted(tensors))
        old = tensors[name].shape
        shapes = [(*old[:-1], old[-1] + 1), (*old, 1), (old[0] // 2 + 1, *old[1:])]
        tensors[name] = torch.ones(shapes[number % 3])
        save_file(tensors, folder / 'model.safetensors')
        refuses(folder, '--to', 'mmllava', says=name.rpartition('vision_model.')[2])


def test_tensors_of_a_wrong_type(tmp_path, refuses):
    draw = random.Random(1000 * SEED + 7)
    kinds = [torch.int8, torch.uint8, torch.int32, torch.int64, torch.bool, torch.complex64]
    kinds += [torch.float8_e4m3fn]
    for number, folder in enumerate(copies(tmp_path, V16, 21)):
        tensors = tensors_of(folder)
        name = draw.choice(sorted(tensors))
        tensors[name] = tensors[name].to(kinds[number % len(kinds)])
        save_file(tensors, folder / 'model.safetensors')
        refuses(folder, '--to', 'mmllava', says=name)


def test_tensors_that_are_missing_or_not_finite(tmp_path, refuses):
    draw = random.Random(1000 * SEED + 8)
    for number, folder in enumerate(copies(tmp_path, V16, 24)):
        tensors = tensors_of(folder)
        name = draw.choice(sorted(n for n in tensors if 'post_layernorm' not in n))
        if number % 2:
            del tensors[name]
        else:
            flat = tensors[name].view(-1)
            flat[draw.randrange(len(flat))] = draw.choice([float('nan'), float('inf')])
        save_file(tensors, folder / 'model.safetensors')
        refuses(folder, '--to', draw.choice(['mmllava', 'original']))


class Calls:
    """A pickle of it calls a function when it is read."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def hostile(file, payload):
    """A PyTorch file whose list runs something before it gives the tensors."""
    data = pickle.dumps({'model.norm.weight': payload}, protocol=2)
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr('archive/data.pkl', data)
        archive.writestr('archive/data/0', bytes(96))
        archive.writestr('archive/version', '3\n')


def test_pickles_with_code_in_them(tmp_path, refuses):
    marker = tmp_path.parent / 'it-ran'
    payloads = [
        Calls(os.system, f'touch {marker}'),
        Calls(eval, f'open({str(marker)!r}, "w")'),
        Calls(exec, f'open({str(marker)!r}, "w")'),
        Calls(Path.touch, marker),
        Calls(open, str(marker), 'w'),
        Calls(shutil.rmtree, str(marker)),
    ]
    for payload in payloads:
        for kind in ('delta', 'projector', 'adapter', 'beside'):
            folder = tmp_path / 'copy'
            base = GOLDEN / 'llama-base'
            if kind == 'delta':
                shutil.copytree(DELTA, folder)
                for file in folder.glob('*.bin'):
                    hostile(file, payload)
            else:
                folder.mkdir()
                name = dict(projector='mm_projector.bin', adapter='adapter_model.bin', beside='x')[
                    kind
                ]
                base = V15
                if kind == 'beside':
                    key = 'base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight'
                    pair = {key.format('A'): torch.ones(4, 48), key.format('B'): torch.ones(48, 4)}
                    torch.save(pair, folder / 'adapter_model.bin')
                    name = 'non_lora_trainables.bin'
                hostile(folder / name, payload)
                told = dict(peft_type='LORA', r=4, lora_alpha=4)
                (folder / 'adapter_config.json').write_text(json.dumps(told))
            refuses(folder, '--to', 'mmllava', '--base', base, says='nothing was run')
            shutil.rmtree(folder)
    assert not marker.exists()


@pytest.mark.parametrize(
    'path', ['../{}', '/etc/passwd', 'x/../{}', './{}', '..', '', '..\\{}', 'x/{}', 7, None]
)
def test_an_index_that_leads_out_of_its_folder(tmp_path, refuses, path):
    for folder in copies(tmp_path, V15, 1):
        file = folder / 'model.safetensors.index.json'
        index = json.loads(file.read_text())
        name = next(iter(index['weight_map']))
        shard = index['weight_map'][name]
        shutil.copy(folder / shard, tmp_path / 'copy-outside.safetensors')
        index['weight_map'][name] = path.format(shard) if isinstance(path, str) else path
        file.write_text(json.dumps(index))
        refuses(folder, '--to', 'mmllava', says='points outside its folder')
        (tmp_path / 'copy-outside.safetensors').unlink()


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('config.json', '{"hidden_size": 48'),
        ('config.json', '[]'),
        ('config.json', 'version https://git-lfs.github.com/spec/v1\nsize 7'),
        ('config.json', '{"hidden_size": 48, "hidden_size": 40}'),
        ('config.json', '{"hidden_size": 40}'),
        ('config.json', '{"model_type": "qwen2_vl"}'),
        ('config.json', '{"mm_projector_type": "mlp3x_gelu"}'),
        ('config.json', '{"vocab_size": "many"}'),
        ('tokenizer_config.json', '{"added_tokens_decoder": []}'),
        ('tokenizer_config.json', 'not JSON'),
        ('added_tokens.json', '["a"]'),
        ('tokenizer.model', 'version https://git-lfs.github.com/spec/v1\nsize 7'),
        ('tokenizer.model', ''),
    ],
)
def test_files_beside_the_weights_that_cannot_be_true(tmp_path, refuses, name, text):
    for folder in copies(tmp_path, V15, 1):
        (folder / name).write_text(text)
        refuses(folder, '--to', 'hf', '--tower', GOLDEN / 'clip-tiny')


ODD = [None, [], {}, '', 'x', -1, 0, 1.5, True, [[1]], {'a': []}, 10**30]


@pytest.mark.slow
@pytest.mark.parametrize('to', ['hf', 'original'])
def test_any_value_of_any_setting_is_taken_or_refused(tmp_path, tool, capsys, monkeypatch, to):
    """A setting may not matter for a layout; what matters must never end in a traceback."""
    monkeypatch.setattr(tool.signal, 'signal', lambda *_: None)
    draw = random.Random(1000 * SEED + 9)
    hf = tmp_path / 'hf'
    source = [str(V16), '--tower', str(GOLDEN / 'clip-tiny')]
    assert tool.main([*source, '--to', 'hf', '--out', str(hf)]) == 0
    status = set()
    for folder in (f for source in (V16, hf) for f in copies(tmp_path, source, 40)):
        name = draw.choice(
            ['config.json'] * 3 + ['tokenizer_config.json', 'special_tokens_map.json']
        )
        told = json.loads((folder / name).read_text())
        place = told
        while True:  # any depth
            key = draw.choice(sorted(place))
            if not (isinstance(place[key], dict) and place[key] and draw.random() < 0.7):
                break
            place = place[key]
        place[key] = draw.choice(ODD)
        (folder / name).write_text(json.dumps(told))
        out = tmp_path / 'out'
        more = ['--tower', str(GOLDEN / 'clip-tiny')]
        status.add(tool.main([str(folder), *more, '--to', to, '--out', str(out)]))
        assert 'Traceback' not in capsys.readouterr().err
        shutil.rmtree(out, ignore_errors=True)
    assert status == {0, 2}
