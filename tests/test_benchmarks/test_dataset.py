"""A benchmark as a dataset of mmengine, by its name in a config."""

import pytest

from mmllava.errors import ConfigError, DataError
from tests.test_benchmarks.conftest import run


def test_a_sample_has_its_image_or_none(build_dataset):
    dataset = build_dataset()
    assert dataset[0]['inputs'].shape == (3, 56, 56)
    assert dataset[1]['inputs'] == []
    assert dataset[1]['data_samples'].get('question_id') == '101'


def test_some_of_the_samples(build_dataset, build_metric):
    dataset = build_dataset(indices=2)
    assert len(dataset) == 2
    assert run(build_metric(dataset), ['A', 'A'])['accuracy'] == 50
    assert [item.id for item in build_dataset(indices=[4, 0]).items] == ['104', '100']


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(benchmark='sciencqa'), "unknown benchmark 'sciencqa'. Did you mean scienceqa"),
        (dict(files=dict(problem='x')), "unknown file of scienceqa 'problem'. Did you mean"),
        (dict(files=dict(splits='x')), 'scienceqa needs the file "(problems|images)"'),
        (dict(settings=dict(spilt='x')), "unknown setting of scienceqa 'spilt'. Did you mean"),
        (dict(data_prefix='x'), "unknown setting of BenchmarkDataset 'data_prefix'"),
        (dict(data_root='/nowhere'), 'cannot read /nowhere/.*docs/datasets.md says where'),
    ],
)
def test_what_a_config_gets_wrong_is_named(build_dataset, change, message):
    with pytest.raises((ConfigError, DataError), match=message):
        build_dataset(**change)


def test_the_card_says_how_a_benchmark_is_asked_and_marks_its_answers(build_dataset):
    from mmllava.evaluation.run_metadata import _benchmark

    first, other = build_dataset(), build_dataset()
    assert _benchmark(first)['protocol']['text'] == first.protocol.text
    assert _benchmark(first) == _benchmark(other)
    other.items = other.items[:1]
    assert _benchmark(first)['truths'] != _benchmark(other)['truths']
    assert _benchmark(object()) == {}
