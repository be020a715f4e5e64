"""Model folders from elsewhere: configs, tokenizer files and indexes that say anything."""

import json
import random
import shutil
from functools import partial
from pathlib import Path

import pytest

import mmllava
from mmllava.apis.load import WEIGHTS
from mmllava.checkpoints.conversion.prepare import prepare_conversion
from tests.helpers.fuzz import SEED, change_bytes, change_json, count, try_inputs

#: keys of other models' configs
EXTRA = (
    *('sliding_window', 'image_grid_pinpoints', 'rope_parameters', 'mm_vision_tower', 's2'),
    *('quantization_config', 'text_config', 'vision_config', 'head_dim', 'mm_resampler_type'),
)


def answer(folder: Path) -> None:
    model = mmllava.load(folder, device='cpu')
    mmllava.ChatSession(model).ask('What is it?', max_new_tokens=2)


def convert(folder: Path) -> None:
    prepare_conversion(folder, 'hf')


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(WEIGHTS, tmp_path / 'model'))


@pytest.mark.parametrize('read', [answer, convert])
def test_a_changed_config_is_answered_or_refused(folder, read):
    original, rng = (folder / 'config.json').read_text(), random.Random(SEED)

    def inputs():
        for _ in range(count(40)):
            config = json.loads(original)
            what = change_json(config, rng, EXTRA)
            (folder / 'config.json').write_text(json.dumps(config))
            yield what, partial(read, folder)

    counts = try_inputs(inputs())
    assert counts['refused'] and counts['answered']


@pytest.mark.parametrize('read', [answer, convert])
@pytest.mark.parametrize(
    'name', ['tokenizer_config.json', 'model.safetensors.index.json', 'generation_config.json']
)
def test_a_changed_json_file_is_answered_or_refused(folder, read, name):
    original, rng = (folder / name).read_text(), random.Random(SEED)

    def inputs():
        for _ in range(count(10)):
            value = json.loads(original)
            what = change_json(value, rng, ('added_tokens_decoder', 'eos_token', 'chat_template'))
            (folder / name).write_text(json.dumps(value))
            yield f'{name}: {what}', partial(read, folder)

    try_inputs(inputs())


@pytest.mark.parametrize('read', [answer, convert])
@pytest.mark.parametrize('name', ['config.json', 'tokenizer.model', 'model.safetensors.index.json'])
def test_a_damaged_file_is_answered_or_refused(folder, read, name):
    original, rng = (folder / name).read_bytes(), random.Random(SEED)

    def inputs():
        for _ in range(count(15)):
            changed, what = change_bytes(original, rng)
            (folder / name).write_bytes(changed)
            yield f'{name}: {what}', partial(read, folder)

    try_inputs(inputs())


@pytest.mark.parametrize(
    'text', ['[' * 100_000, '{"a":' * 100_000, '{"hidden_size": ' + '9' * 5000]
)
@pytest.mark.parametrize('name', ['config.json', 'tokenizer_config.json', 'added_tokens.json'])
def test_json_nested_too_deep_and_numbers_too_long_are_refused(folder, name, text):
    (folder / name).write_text(text)
    counts = try_inputs(iter([(name, partial(answer, folder)), (name, partial(convert, folder))]))
    assert counts == dict(refused=2)
