"""A sample is encoded once, in the dataset's worker; the model uses these ids and labels."""

import json
import pickle

import pytest
import torch

from mmllava.datasets.llava_json import BadSample
from mmllava.models import SampleEncoder
from mmllava.prompts.templates import get_template
from mmllava.registry import DATASETS
from mmllava.structures import IGNORE_INDEX
from tests.conftest import MODELS, tiny_config


def talk(question, answer='It is a red umbrella.'):
    return [{'from': 'human', 'value': question}, {'from': 'gpt', 'value': answer}]


IMAGE = dict(image='0.png', conversations=talk('<image>\nWhy?') + talk('And then?'))
TEXT = dict(conversations=talk('Hello.'))


@pytest.fixture
def dataset_of(tmp_path):
    def build(*rows, version='v1.5', encoder=None):
        (tmp_path / 'train.json').write_text(json.dumps(rows))
        steps = tiny_config(version).test_dataloader.dataset.pipeline
        steps[-1] = dict(type='mmpretrain.PackInputs', algorithm_keys=['conversations'])
        dataset = DATASETS.build(
            dict(
                type='mmllava.InstructDataset',
                ann_file=str(tmp_path / 'train.json'),
                img_root=str(MODELS / 'images'),
                pipeline=steps,
            )
        )
        dataset.encoder = encoder
        return dataset

    return build


def loss_of(model, *packed):
    batch = dict(
        inputs=[sample['inputs'] for sample in packed],
        data_samples=[sample['data_samples'] for sample in packed],
    )
    return model(**model.data_preprocessor(batch), mode='loss')['loss']


@torch.no_grad()
def test_losses_are_those_of_the_conversation_to_the_bit(version, tiny_model, dataset_of):
    plain = dataset_of(IMAGE, TEXT, version=version)
    encoded = dataset_of(IMAGE, TEXT, version=version, encoder=SampleEncoder(tiny_model))
    expected = loss_of(tiny_model, plain[0], plain[1])
    assert 'encoded' not in plain[0]['data_samples']
    assert torch.equal(loss_of(tiny_model, encoded[0], encoded[1]), expected)


@pytest.mark.parametrize('version', ['v1.5'], indirect=True)
def test_the_model_takes_the_ids_and_tokenizes_no_more(
    version, tiny_model, dataset_of, monkeypatch
):
    packed = dataset_of(IMAGE, encoder=SampleEncoder(tiny_model))[0]
    prompt = packed['data_samples'].encoded
    first = next(k for k, label in enumerate(prompt.labels) if label != IGNORE_INDEX)
    before = loss_of(tiny_model, packed)

    def fails(*_):
        raise AssertionError('tokenized again')

    monkeypatch.setattr(type(tiny_model.tokenizer), 'encode_spans', fails)
    assert torch.equal(loss_of(tiny_model, packed), before)
    prompt.labels[first] = IGNORE_INDEX
    assert not torch.equal(loss_of(tiny_model, packed), before)


@pytest.mark.parametrize('version', ['v1.5'], indirect=True)
def test_an_encoder_goes_to_a_worker_that_is_spawned(version, tiny_model, dataset_of):
    dataset = dataset_of(IMAGE, TEXT, encoder=SampleEncoder(tiny_model))
    copy = pickle.loads(pickle.dumps(dataset))
    for k in range(2):
        assert copy[k]['data_samples'].encoded == dataset[k]['data_samples'].encoded
    parameters = sum(p.numel() for p in tiny_model.parameters())
    assert len(pickle.dumps(dataset.encoder)) < parameters  # no weight travels


@pytest.mark.parametrize('version', ['v1.5'], indirect=True)
def test_a_sample_that_is_cut_before_its_answer_is_skipped_in_training(
    version, tiny_model, dataset_of
):
    long = dict(image='0.png', conversations=talk('<image>\n' + 'Why? ' * 100))
    dataset = dataset_of(long, IMAGE)
    assert dataset[0]['data_samples'].conversations == long['conversations']
    dataset.encoder = SampleEncoder(tiny_model, 150)
    assert dataset[0]['data_samples'].conversations == IMAGE['conversations']
    assert dataset.num_skipped == 1


@pytest.mark.parametrize(
    ('record', 'message'),
    [
        (dict(image='0.png', conversations=talk('Why?', '<image>')), 'an answer cannot'),
        (dict(conversations=talk('') + talk('a')), 'turn 0 has no text'),
        (dict(conversations=talk('a') + talk('b')[1:]), "expected 'user'"),
        (dict(conversations=talk('Hello \ud800')), 'which is half of a surrogate pair'),
    ],
)
@pytest.mark.parametrize('version', ['v1.5'], indirect=True)
def test_a_conversation_that_cannot_be_encoded_is_a_bad_sample(
    version, tiny_model, dataset_of, record, message
):
    dataset = dataset_of(record, encoder=SampleEncoder(tiny_model))
    with pytest.raises(BadSample, match=message) as caught:
        dataset.prepare_data(0)
    assert caught.value.fault == 'format'


@pytest.mark.parametrize('version', ['v1.5'], indirect=True)
def test_a_token_beyond_the_vocabulary_is_a_bad_sample(
    version, tiny_model, dataset_of, monkeypatch
):
    monkeypatch.setattr(tiny_model.prompt_builder, 'vocab_size', 3)
    dataset = dataset_of(TEXT, encoder=SampleEncoder(tiny_model))
    with pytest.raises(BadSample, match='the language model has 3 rows'):
        dataset.prepare_data(0)


@pytest.mark.parametrize('version', ['v1.5'], indirect=True)
def test_a_template_that_takes_one_image_and_one_caption_refuses_more(
    version, tiny_model, dataset_of, monkeypatch
):
    monkeypatch.setattr(tiny_model.prompt_builder, 'template_name', 'plain')
    monkeypatch.setattr(tiny_model.prompt_builder, 'template', get_template('plain'))
    caption = dict(image='0.png', conversations=talk('<image>\nWhy?'))
    dataset = dataset_of(IMAGE, caption, encoder=SampleEncoder(tiny_model))
    assert dataset[0]['data_samples'].conversations == caption['conversations']
    assert dataset.num_skipped == 1
