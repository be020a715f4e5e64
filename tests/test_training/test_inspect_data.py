"""What is said of a sample is what the model then sees."""

import json

import numpy as np
import pytest
from PIL import Image

from mmllava.models import SampleEncoder
from mmllava.registry import DATASETS
from mmllava.structures import IGNORE_INDEX
from mmllava.training import inspect_data as room
from tests.conftest import MODELS, tiny_config


def talk(question, answer='It is a red umbrella.'):
    return [{'from': 'human', 'value': question}, {'from': 'gpt', 'value': answer}]


ROWS = [
    dict(image='0.png', conversations=talk('<image>\nWhy?') + talk('And then?')),
    dict(image='2.png', conversations=talk('What is it?\n<image>')),
    dict(image=['1.png', '5.png'], conversations=talk('<image> or <image>?')),
    dict(conversations=talk('Hello.')),
]


@pytest.fixture
def build(tmp_path):
    def build(version, model, rows=ROWS, max_tokens=None):
        (tmp_path / 'train.json').write_text(json.dumps(rows))
        config = tiny_config(version)
        steps = config.test_dataloader.dataset.pipeline
        steps[-1] = dict(type='mmpretrain.PackInputs', algorithm_keys=['conversations'])
        dataset = DATASETS.build(
            dict(
                type='mmllava.InstructDataset',
                ann_file=str(tmp_path / 'train.json'),
                img_root=str(MODELS / 'images'),
                pipeline=steps,
            )
        )
        dataset.encoder = SampleEncoder(model, max_tokens)
        return dataset

    return build


def test_length_and_labels_are_those_of_the_batch(version, tiny_model, build):
    dataset = build(version, tiny_model)
    for k in range(len(ROWS)):
        dataset.encoder.max_tokens = 10_000
        sample = dataset[k]
        data = tiny_model.data_preprocessor(
            dict(inputs=[sample['inputs']], data_samples=[sample['data_samples']])
        )
        batch = tiny_model.prepare_inputs(
            **data, encode=tiny_model.prompt_builder.encode_conversation, side='right'
        )
        for limit in (10_000, 60):
            dataset.encoder.max_tokens = limit
            labels = batch.labels[0, :limit]
            learned = int((labels != IGNORE_INDEX).sum())
            found = room.examine(dataset, k)
            if not learned:
                assert found.bad[0] == 'empty'
                continue
            assert found.tokens == batch.labels.shape[1]
            assert found.learned == learned
            assert found.images == (1, 1, 2, 0)[k]


@pytest.mark.parametrize('version', ['v1.5'], indirect=True)
def test_the_text_of_a_sample_is_spelled_with_its_end_marks_and_bytes(version, tiny_model, build):
    rows = [dict(ROWS[0], conversations=talk('<image>\nWhy?', 'Ünïcode 猫.\nSo.'))]
    dataset = build(version, tiny_model, rows)
    sample = dataset.encoder(dataset[0])
    runs = room.spell(sample.prompt, sample.image_lengths, tiny_model.tokenizer)
    (asked, _), (answer, learned) = runs
    assert learned and answer == ' Ünïcode 猫.\nSo.</s>'
    assert asked.startswith('<s> A chat between') and asked.endswith(
        'USER: <image: 16 tokens> \nWhy? ASSISTANT:'
    )


def test_a_picture_says_what_it_is_whatever_its_name(tmp_path):
    picture = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    picture.save(tmp_path / 'a.png')
    picture.save(tmp_path / 'b.JPG', 'JPEG')
    picture.save(tmp_path / 'c.jpg', 'MPO')
    picture.save(tmp_path / 'd.png', 'WEBP')
    picture.save(tmp_path / 'e', 'PNG')
    notes = {name: room._look_at(str(tmp_path / name)) for name in ('a.png', 'b.JPG', 'c.jpg')}
    assert not any(notes.values())
    ((kind, told),) = room._look_at(str(tmp_path / 'd.png'))
    assert kind == 'extension' and told.endswith('d.png is WEBP, and its name ends in .png')
    ((kind, told),) = room._look_at(str(tmp_path / 'e'))
    assert kind == 'extension' and told.endswith('its name ends in nothing')
