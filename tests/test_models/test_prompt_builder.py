"""A sample becomes ids and labels, and ids become an answer."""

import pickle
import shutil

import pytest
from mmengine.structures import BaseDataElement

from mmllava.models.prompt_builder import PromptBuilder
from mmllava.prompts.templates import get_template
from tests.conftest import MODELS


@pytest.mark.parametrize(
    ('template', 'text', 'answer'),
    [
        ('llava_v0', 'A cat. ### Human: x', 'A cat.'),
        ('llava_v0', '### Human: x', ''),
        ('chatml_direct', 'A # cat.<|im_end|>\n', 'A # cat.'),
        ('vicuna_v1', ' A ### cat. ', 'A ### cat.'),
    ],
)
def test_a_stop_that_is_text_is_cut_off_with_all_that_follows(
    tiny_model, monkeypatch, template, text, answer
):
    monkeypatch.setattr(tiny_model.prompt_builder, 'template', get_template(template))
    assert tiny_model.prompt_builder.decode_answer(tiny_model.tokenizer.encode(text)) == answer


@pytest.fixture
def builder(tiny_model):
    return tiny_model.prompt_builder


def test_a_builder_goes_to_another_process(builder):
    """Dataset workers have one each; it brings its tokenizer and no weights."""
    sample = BaseDataElement(conversations=[dict(value='<image>\nWhy?'), dict(value='So.')])
    for turn, speaker in zip(sample.conversations, ('human', 'gpt'), strict=True):
        turn['from'] = speaker
    expected = builder.encode_conversation(sample)
    sent = pickle.dumps(builder)
    assert len(sent) < 200_000
    there = pickle.loads(sent)
    assert there.encode_conversation(sample) == expected
    assert there.decode_answer(expected.input_ids[3:]) == builder.decode_answer(
        expected.input_ids[3:]
    )


def test_another_checkpoint_brings_its_own_tokenizer(tmp_path):
    config = dict(type='mmllava.LlamaTokenizer', name_or_path='some/hub-id')
    builder = PromptBuilder(config, vocab_size=2000, num_patches=4)
    for name in ('a', 'b'):
        shutil.copytree(MODELS / 'tokenizer', tmp_path / name)
        builder.use_checkpoint(tmp_path / name)
        assert builder.tokenizer.encode('x')
        assert builder.tokenizer_folder == tmp_path / name


def test_an_image_placeholder_of_another_program_is_text(builder):
    """`run_llava`'s ``<image-placeholder>``; the image comes first, as with any question."""
    text = builder.ask('What is <image-placeholder>?', 1)[0].text
    assert text.count('<image>') == 1 and text.endswith('\nWhat is <image-placeholder>?')
