"""A config.json from elsewhere may say anything; it is refused before anything is built."""

import json

import pytest

from mmllava.checkpoints.layouts.config_schema import check_config, read_config
from mmllava.errors import CheckpointError, ConfigError
from tests.conftest import MODELS, VERSIONS


@pytest.mark.parametrize('version', VERSIONS)
def test_the_released_formats_pass(version):
    assert read_config(MODELS / VERSIONS[version][0])


def test_a_folder_without_config_json_and_a_file_have_no_settings(tmp_path):
    assert read_config(tmp_path) == read_config(MODELS / 'README.md') == {}


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(hidden_size='48'), r"hidden_size is '48', expected a whole number from 1 to 1,000,"),
        (dict(num_hidden_layers=10**6), 'num_hidden_layers is 1000000, expected .* to 1,000'),
        (dict(num_attention_heads=0), 'num_attention_heads is 0, expected a whole number from 1'),
        (dict(num_hidden_layers=True), 'num_hidden_layers is True, expected a whole number'),
        (dict(rms_norm_eps=-1e-6), 'rms_norm_eps is -1e-06, expected a number between 0 and 1'),
        (dict(rope_theta=float('inf')), 'rope_theta is inf, expected a positive number'),
        (dict(attention_bias='no'), "attention_bias is 'no', expected true or false"),
        (dict(hidden_act='sillu'), "hidden_act is 'sillu', expected one of silu, "),
        (dict(mm_vision_select_layer=[-2]), r'mm_vision_select_layer is \[-2\], expected a whole'),
        (dict(mm_vision_tower=7), 'mm_vision_tower is 7, expected a string'),
        (dict(image_grid_pinpoints=[[336, 10**9]]), 'image_grid_pinpoints is .* expected a list'),
        (dict(eos_token_id=['</s>']), 'eos_token_id is .*, expected a token id, or a list of'),
        (dict(rope_scaling=dict(type='lin', factor=2)), "rope_scaling has rope_type 'lin', exp"),
        (dict(rope_scaling=dict(type='linear')), 'rope_scaling has factor None, expected a numb'),
        (dict(vision_config=dict(patch_size=[14])), r'vision_config: patch_size is \[14\], exp'),
        (dict(vision_config=dict(image_size=8, patch_size=14)), 'patch_size 14 is larger than'),
        (dict(hidden_size=48, num_attention_heads=7), '48 cannot be divided among 7 attention'),
        (dict(num_attention_heads=8, num_key_value_heads=3), '8 is no multiple of num_key_value'),
    ],
)
def test_a_value_that_no_model_can_have_is_refused_by_its_key(changes, message):
    with pytest.raises(CheckpointError, match=message):
        check_config(changes, 'config.json')


@pytest.mark.parametrize(
    'asked',
    [
        dict(s2=True),
        dict(mm_resampler_type='perceiver'),
        dict(mm_spatial_pool_mode='average'),
        dict(mm_newline_position='grid'),
        dict(quantization_config=dict(quant_method='awq')),
    ],
)
def test_a_part_that_is_not_built_here_is_refused_by_name(asked):
    with pytest.raises(CheckpointError, match=f'{next(iter(asked))} is .* not supported'):
        check_config(asked, 'config.json')


def test_null_and_values_that_ask_for_nothing_pass():
    check_config(dict(rope_scaling=None, s2=False, mm_newline_position='one_token'), 'here')


def test_a_caller_chooses_the_class_of_the_error_and_long_values_are_cut():
    with pytest.raises(ConfigError, match=r'^LanguageModel: hidden_size is \[1, 1.{30,60}\.\.\., '):
        check_config(dict(hidden_size=[1] * 100), 'LanguageModel', ConfigError)


def test_the_file_is_named(tmp_path):
    (tmp_path / 'config.json').write_text(json.dumps(dict(hidden_size=None, vocab_size=-1)))
    with pytest.raises(CheckpointError, match=rf'^{tmp_path}/config.json: vocab_size is -1'):
        read_config(tmp_path)
