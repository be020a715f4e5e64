"""Samples of an epoch: mixing, skipping, and what is logged of it."""

import logging
import pickle

import pytest
import torch
from torch.utils.data import DataLoader

from mmllava.datasets.collate import collate
from mmllava.errors import ConfigError, DataError
from tests.conftest import MODELS, tiny_config
from tests.test_datasets.conftest import PIPELINE, talk

GOOD = [
    dict(id=f'g{k}', image=f'images/{k}.png', conversations=talk('<image> Why?', f'A {k}.'))
    for k in range(4)
]
TEXT = dict(id='t', conversations=talk('Hello.', 'Good day.'))
MISSING = dict(GOOD[0], id='gone', image='images/gone.png')


def answers(dataset, indices):
    return [dataset[k]['data_samples'].conversations[1]['value'] for k in indices]


@pytest.fixture
def told(monkeypatch):
    """The lines that the dataset logs."""
    lines = []
    monkeypatch.setattr(
        'mmllava.datasets.instruct.print_log',
        lambda text, logger, level: lines.append((text, level)),
    )
    return lines


def test_one_picture_several_and_none_go_through_the_pipeline(write, build):
    several = dict(image=['images/1.png', 'images/2.png'], conversations=talk('<image> <image>'))
    dataset = build(write([GOOD[0], several, TEXT]))
    one, two, none = (dataset[k] for k in range(3))
    assert one['inputs'].shape == (3, 56, 56)
    assert [picture.shape for picture in two['inputs']] == [(3, 56, 56)] * 2
    assert len(two['data_samples'].ori_shape) == 2
    assert none['inputs'] == none['data_samples'].ori_shape == []
    assert none['data_samples'].conversations == TEXT['conversations']
    assert dataset.lengths.tolist() == [4, 3, -3]


@pytest.mark.parametrize('kind', ['full', 'full_with_text'])
def test_the_first_recorded_loss_comes_from_the_file(golden, write, build, kind):
    from mmengine.registry import FUNCTIONS

    from mmllava import get_model

    rows = list(golden['train']['batch'])
    if kind == 'full_with_text':
        rows.append(dict(conversations=golden['train']['text_sample']))
    by_name = FUNCTIONS.get('mmllava.keep_lists')
    (batch,) = DataLoader(build(write(rows)), batch_size=5, collate_fn=by_name, num_workers=1)
    model = get_model(tiny_config('v1.5'), pretrained=str(MODELS / 'llava-v1.5'), device='cpu')
    data = model.data_preprocessor(batch, training=True)
    loss = model(**data, mode='loss')['loss'].item()
    assert loss == pytest.approx(golden['train'][kind][0], abs=1e-5)


def test_pictures_of_a_batch_stay_with_their_samples(write, build):
    several = dict(image=['images/1.png', 'images/2.png'], conversations=talk('<image> <image>'))
    dataset = build(write([several, dict(several, image=['images/3.png', 'images/0.png'])]))
    batch = collate([dataset[0], dataset[1]])
    alone = [dataset[k]['inputs'] for k in range(2)]
    for mine, own in zip(batch['inputs'], alone, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine, own, strict=True))


def test_a_runner_builds_the_loader_of_a_config(write):
    from mmengine.registry import DefaultScope
    from mmengine.runner import Runner

    config = dict(
        batch_size=2,
        num_workers=0,
        sampler=dict(type='mmllava.ModalityLengthSampler', batch_size=2),
        collate_fn=dict(type='mmllava.keep_lists'),
        dataset=dict(
            type='mmllava.InstructDataset',
            ann_file=write([*GOOD, *[TEXT] * 4]),
            img_root=str(MODELS),
            pipeline=PIPELINE,
        ),
    )
    with DefaultScope.overwrite_default_scope('mmllava'):
        batches = list(Runner.build_dataloader(config, seed=1))
    pictures = [[bool(len(i)) for i in batch['inputs']] for batch in batches[:2]]
    assert sorted(pictures) == [[False, False], [True, True]]
    assert sum(len(batch['data_samples']) for batch in batches) == 8


def test_files_are_mixed_by_weight(write, build):
    first, second = write(GOOD, 'a.json'), write([TEXT] * 6, 'b.json')
    dataset = build([dict(ann_file=first, weight=2.5), dict(ann_file=second, weight=0.5)])
    assert len(dataset) == 2 * 4 + 2 + 3
    found = dataset.record_ids.tolist()
    assert [found.count(k) for k in range(4)] == [3, 2, 3, 2]
    assert found[10:] == [4, 6, 8]
    assert (dataset.lengths > 0).sum() == 10


def test_a_file_may_have_a_picture_folder_of_its_own(write, build):
    here = write([dict(GOOD[0], image='0.png')])
    dataset = build([dict(ann_file=here, img_root=str(MODELS / 'images')), write(GOOD, 'b.json')])
    assert answers(dataset, [0, 2]) == ['A 0.', 'A 1.']


def test_a_bad_sample_is_named_counted_and_replaced_by_the_next_of_its_modality(write, build, told):
    rows = [GOOD[0], MISSING, TEXT, GOOD[1], dict(TEXT, conversations=talk('Hm?', ''))]
    dataset = build(write(rows))
    assert answers(dataset, range(5)) == ['A 0.', 'A 1.', 'Good day.', 'A 1.', 'Good day.']
    assert answers(dataset, range(5)) == ['A 0.', 'A 1.', 'Good day.', 'A 1.', 'Good day.']
    assert dataset.num_skipped == 2
    (first, level), (second, _) = told  # each is told once
    assert level == logging.ERROR
    assert "train.json[1] (id 'gone'): no image at" in first and '1 of at most 100' in first
    assert "train.json[4] (id 't'): it has no answer to learn" in second


def test_a_broken_picture_is_skipped_too(write, build, told, tmp_path):
    (tmp_path / '0.png').write_bytes((MODELS / 'images/0.png').read_bytes()[:60])
    (tmp_path / '1.png').write_bytes((MODELS / 'images/1.png').read_bytes())
    rows = [dict(row, image=f'{k}.png') for k, row in enumerate(GOOD[:2])]
    dataset = build(write(rows), img_root=str(tmp_path))
    assert answers(dataset, [0]) == ['A 1.']
    assert 'damaged or cut short' in told[0][0]


def test_one_bad_sample_too_many_ends_the_run(write, build, told):
    dataset = build(write([MISSING, dict(MISSING, id='too'), *GOOD]), max_skipped=1)
    with pytest.raises(DataError, match=r'2 bad samples, and max_skipped=1 .*\[1\] \(id .too.\)'):
        dataset[0]
    strict = build(write([MISSING, *GOOD]), max_skipped=0)
    with pytest.raises(DataError, match=r'1 bad samples.*check_data\.py CONFIG'):
        strict[0]


def test_a_repeated_record_counts_once(write, build, told):
    dataset = build([dict(ann_file=write([MISSING, GOOD[0]]), weight=3)], max_skipped=1)
    assert answers(dataset, range(6)) == ['A 0.'] * 6
    assert dataset.num_skipped == len(told) == 1


def test_workers_count_together(write, build, told):
    rows = [dict(MISSING, id=k) for k in range(4)]
    empty = dict(conversations=talk('Hm?', ''))
    dataset = build(write([*rows, GOOD[0], empty]), max_skipped=4)
    loader = DataLoader(dataset, sampler=range(4), num_workers=2, collate_fn=collate)
    assert len(list(loader)) == dataset.num_skipped == 4
    with pytest.raises(DataError, match='5 bad samples, and max_skipped=4'):
        dataset[5]


def test_no_good_sample_of_a_modality_is_an_error(write, build, told):
    dataset = build(write([MISSING, TEXT]))
    with pytest.raises(DataError, match='all samples with images of .*train.json are bad'):
        dataset[0]
    assert answers(dataset, [1]) == ['Good day.']


def test_a_setting_that_is_wrong_is_no_bad_sample(write, build):
    pipeline = [*PIPELINE[:1], dict(type='mmllava.CLIPResize', size=0, aspect='pad')]
    with pytest.raises(ValueError, match='height and width must be > 0'):
        build(write(GOOD), pipeline=pipeline)[0]


def test_it_goes_to_a_worker_that_is_spawned(write, build):
    dataset = build(write([*GOOD, TEXT]))
    assert answers(pickle.loads(pickle.dumps(dataset)), [4]) == ['Good day.']


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (
            dict(template='plain'),
            r"has template='plain', .* expected none, .* Leave it out, or set model\.template",
        ),
        (dict(img_rot='x'), "setting of InstructDataset 'img_rot'. Did you mean img_root"),
        (dict(max_skipped=-1), 'max_skipped is -1, expected 0 or more'),
        (
            dict(pipeline=[dict(type='mmllava.LoadImage', on_error='record')]),
            'would train on black images',
        ),
    ],
)
def test_a_setting_that_cannot_work_is_refused(write, build, settings, message):
    with pytest.raises(ConfigError, match=message):
        build(write(GOOD), **settings)


@pytest.mark.parametrize(
    ('file', 'message'),
    [
        (dict(weight=0), 'the weight of .* is 0, expected more than 0'),
        (dict(weight=0.1), 'weight 0.1 of .* leaves none of its 4 records'),
        (dict(wieght=2), "unknown setting of an ann_file 'wieght'. Did you mean weight"),
        (dict(ann_file=None), 'expected a path or dict'),
    ],
)
def test_a_file_that_cannot_be_mixed_in_is_refused(write, build, file, message):
    with pytest.raises(ConfigError, match=message):
        build([{'ann_file': write(GOOD), **file}])


def test_only_the_used_keys_of_a_record_stay_in_memory(write, build):
    file = write([dict(GOOD[0], model='', extra=[1])])  # as ShareGPT's records have
    assert build(file).get_data_info(0)['record'] == GOOD[0]
