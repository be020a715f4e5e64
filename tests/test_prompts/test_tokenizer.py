"""Token ids of the original's tokenizer, whatever transformers is installed."""

import json
import shutil

import pytest

from mmllava.errors import ConfigError, PromptError
from mmllava.prompts import tokenizer as module
from mmllava.prompts.encode import encode_text
from mmllava.prompts.tokenizer import LlamaTokenizer
from tests.conftest import MODELS

NASTY = [
    'a cat',
    ' a cat',
    '  two spaces',
    'line\nbreak\ttab',
    'é 日本語 🐈 ▁',
    '</s>',
    'a</s>b',
    'a </s> b',
    '</s>USER: x',
    '<s><s>',
    '<im_start>x<im_end>\nWhy?',
    '',
    ' ',
    '\n',
]


@pytest.fixture(params=[True, False], ids=['legacy', 'not legacy'])
def tokenizer(request):
    return LlamaTokenizer(MODELS / 'tokenizer', legacy=request.param)


@pytest.mark.parametrize('legacy', [True, False])
def test_every_recorded_prompt_gives_the_recorded_ids(golden, legacy):
    tokenizer = LlamaTokenizer(MODELS / 'tokenizer', legacy=legacy)
    for row in golden['tokenize']:
        prompt = row['prompt']
        ids = encode_text(prompt, tokenizer, prompt.count('<image>'))
        assert ids == row[f'legacy_{str(legacy).lower()}'], prompt


@pytest.mark.parametrize('text', NASTY)
def test_the_spans_of_tokens_cover_the_text_in_order(tokenizer, text):
    found = tokenizer.encode_spans(text)
    assert [t.start for t in found] == sorted(t.start for t in found)
    assert {k for t in found for k in range(t.start, t.end)} == set(range(len(text)))


@pytest.mark.parametrize('text', NASTY)
def test_spans_have_the_ids_that_encode_gives(tokenizer, text):
    assert [t.id for t in tokenizer.encode_spans(text)] == tokenizer.encode(text)[1:]


@pytest.mark.parametrize('text', ['a cat on a mat', 'é 日本語 🐈', 'line\nbreak', 'x  y'])
def test_decoding_gives_the_text_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)).strip() == text


def test_decoding_leaves_out_special_tokens_and_ids_that_do_not_exist():
    tokenizer = LlamaTokenizer(MODELS / 'llava-v1-delta')
    ids = tokenizer.encode('a cat')
    assert tokenizer.decode([1, *ids, 2, 1001, 0, -200, 99999]).strip() == 'a cat'


def test_ids_of_added_tokens_come_from_the_files():
    tokenizer = LlamaTokenizer(MODELS / 'llava-v1-delta')
    assert [tokenizer.token_id(w) for w in ('[PAD]', '<im_start>', '<im_end>')] == [
        1000,
        1001,
        1002,
    ]
    assert tokenizer.pad_id == 1000 and len(tokenizer) == 1003


def test_extra_tokens_are_appended_only_where_the_files_lack_them():
    has = LlamaTokenizer(MODELS / 'llava-v1-delta', extra_tokens=['<im_start>', '<im_patch>'])
    assert (has.token_id('<im_start>'), has.token_id('<im_patch>')) == (1001, 1003)


def test_legacy_is_read_from_the_checkpoint_and_is_on_where_it_is_silent(tmp_path):
    assert LlamaTokenizer(MODELS / 'llava-v1-delta').legacy is True
    assert LlamaTokenizer(MODELS / 'llava-v1.5').legacy is False
    shutil.copy(MODELS / 'tokenizer/tokenizer.model', tmp_path)
    assert LlamaTokenizer(tmp_path).legacy is True


def test_a_token_that_strips_takes_the_space_beside_it(tmp_path):
    shutil.copy(MODELS / 'tokenizer/tokenizer.model', tmp_path)
    entry = dict(content='<mark>', special=True, lstrip=True, rstrip=True)
    config = dict(added_tokens_decoder={'1000': entry})
    (tmp_path / 'tokenizer_config.json').write_text(json.dumps(config))
    tokenizer = LlamaTokenizer(tmp_path)
    assert tokenizer.encode('a <mark> b') == tokenizer.encode('a<mark>b')


def test_an_unknown_token_is_answered_with_the_close_ones():
    with pytest.raises(ConfigError, match=r"unknown token '<im_strat>'. Did you mean <im_start>"):
        LlamaTokenizer(MODELS / 'llava-v1-delta').token_id('<im_strat>')


def test_a_folder_without_tokenizer_says_which_file_is_missing(tmp_path):
    with pytest.raises(ConfigError, match=r'no tokenizer.model in .* Set tokenizer.name_or_path'):
        LlamaTokenizer(tmp_path)


def test_a_damaged_tokenizer_is_named(tmp_path):
    (tmp_path / 'tokenizer.model').write_bytes(b'not a model')
    with pytest.raises(ConfigError, match='is not a SentencePiece model'):
        LlamaTokenizer(tmp_path)


def test_a_tokenizer_that_rewrites_its_input_is_refused_where_labels_depend_on_it():
    with pytest.raises(PromptError, match=r"rewrites its input: 'ABC' does not match"):
        module._spans(['▁abc'], 'ABC', 0, prefix=True)


@pytest.mark.parametrize('text', [t for t in NASTY if t.strip()])
def test_transformers_slow_tokenizer_of_4_57_agrees(tokenizer, text):
    transformers = pytest.importorskip('transformers')
    if int(transformers.__version__.split('.')[0]) > 4:
        pytest.skip('transformers 5 has no slow LlamaTokenizer; its ids differ from the original')
    slow = transformers.LlamaTokenizer(
        str(MODELS / 'tokenizer/tokenizer.model'), legacy=tokenizer.legacy
    )
    assert tokenizer.encode(text) == slow(text).input_ids


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('added_tokens.json', dict(a='5'), r"added_tokens.json: 'a' is '5', expected a token id"),
        ('added_tokens.json', dict(a=-1), "'a' is '-1', expected a token id"),
        ('tokenizer_config.json', dict(legacy='no'), "'legacy' is 'no', expected true or false"),
        ('tokenizer_config.json', dict(added_tokens_decoder=[1]), r'expected an object\. Copy'),
        ('tokenizer_config.json', dict(added_tokens_decoder={'x': {}}), "'x' is '{}', expected a"),
        ('tokenizer_config.json', dict(eos_token=[None]), "'eos_token' is .* expected a token, or"),
        ('special_tokens_map.json', dict(pad_token=1), "'pad_token' is '1', expected a token, or"),
    ],
)
def test_a_value_of_a_wrong_type_is_refused_by_file_and_key(tmp_path, name, content, message):
    folder = shutil.copytree(MODELS / 'tokenizer', tmp_path / 'copy')
    (folder / name).write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=message):
        LlamaTokenizer(folder)


def test_a_model_with_pieces_that_are_not_utf_8_is_refused(tmp_path):
    folder = shutil.copytree(MODELS / 'tokenizer', tmp_path / 'copy')
    data = (folder / 'tokenizer.model').read_bytes()
    piece = '▁the'.encode()
    assert piece in data
    (folder / 'tokenizer.model').write_bytes(data.replace(piece, b'\xff' + piece[1:], 1))
    with pytest.raises(ConfigError, match='tokenizer.model is not a SentencePiece model'):
        LlamaTokenizer(folder)
