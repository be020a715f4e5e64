"""A benchmark as a dataset and as a metric, by their names in a config."""

import json

import pytest

from mmllava.benchmarks.protocols import PROTOCOLS
from mmllava.benchmarks.registry import BENCHMARKS
from mmllava.errors import ConfigError, DataError
from mmllava.registry import DATASETS, METRICS

PIPELINE = [
    dict(type='mmllava.LoadImage'),
    dict(type='mmllava.CLIPResize', size=56, aspect='pad'),
    dict(type='mmpretrain.PackInputs', algorithm_keys=['question'], meta_keys=['question_id']),
]


@pytest.fixture
def build(made):
    """Builds ScienceQA's dataset."""
    config = dict(
        type='mmllava.BenchmarkDataset',
        benchmark='scienceqa',
        data_root=str(made / 'scienceqa'),
        files=dict(problems='problems.json', splits='pid_splits.json', images='images/test'),
        pipeline=PIPELINE,
    )
    return lambda **more: DATASETS.build({**config, **more})


@pytest.fixture
def metric():
    """Builds the metric over a dataset."""

    def metric(dataset, **settings):
        built = METRICS.build(dict(type='mmllava.BenchmarkMetric', **settings))
        built.dataset_meta = dataset.metainfo
        return built

    return metric


def run(metric, answers):
    metric.process(None, [dict(index=k, pred_answer=a) for k, a in enumerate(answers)])
    return metric.evaluate(len(answers))


def test_every_set_has_protocols_and_every_protocol_a_set():
    assert set(PROTOCOLS) == set(BENCHMARKS)
    for protocols in PROTOCOLS.values():
        assert all(protocol.source for protocol in protocols.values())


def test_a_question_is_written_as_the_preset_says(build):
    letter = "\nAnswer with the option's letter from the given choices directly."
    asked = build()[1]['data_samples'].get('question')
    assert asked.startswith('Context: The square is small.\nQuestion: ')
    assert asked.endswith('(C) blue' + letter)
    asked = build(preset='lmms-eval')[1]['data_samples'].get('question')
    assert asked == (
        'Context: The square is small.\nWhich colour is number 1?\nA. red\nB. green\nC. blue'
        + letter
    )
    with pytest.raises(ConfigError, match="unknown preset of scienceqa 'lms-eval'. Did you mean"):
        build(preset='lms-eval')


def test_a_sample_has_its_picture_or_none(build):
    dataset = build()
    assert dataset[0]['inputs'].shape == (3, 56, 56)
    assert dataset[1]['inputs'] == []
    assert dataset[1]['data_samples'].get('question_id') == '101'


def test_some_of_the_samples(build, metric):
    dataset = build(indices=2)
    assert len(dataset) == 2
    assert run(metric(dataset), ['A', 'A'])['accuracy'] == 50
    assert [item.id for item in build(indices=[4, 0]).items] == ['104', '100']


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
def test_what_a_config_gets_wrong_is_named(build, change, message):
    with pytest.raises((ConfigError, DataError), match=message):
        build(**change)


def test_a_failed_sample_is_wrong_and_counted(build, metric, tmp_path):
    scores = run(metric(build(), out_dir=str(tmp_path)), ['A', 'B', 'A', 'B', None])
    assert (scores['accuracy'], scores['failed']) == (80, 1)
    assert json.loads((tmp_path / 'scienceqa_result.json').read_text())['correct'] == 4
    assert [file.name for file in tmp_path.iterdir()] == ['scienceqa_result.json']


def test_a_gap_and_an_empty_set_are_refused(build, metric):
    with pytest.raises(DataError, match='1 of 5 samples have no prediction, the first is number 4'):
        run(metric(build()), ['A', 'B', 'A', 'B'])
    with pytest.raises(DataError, match='none of 5 samples has an answer'):
        run(metric(build()), [None] * 5)


def test_another_dataset_is_refused(metric):
    built = METRICS.build(dict(type='mmllava.BenchmarkMetric'))
    with pytest.raises(ConfigError, match='but the dataset is another'):
        run(built, ['A'])


def test_the_card_says_how_a_benchmark_is_asked_and_marks_its_answers(build):
    from mmllava.evaluation.run_metadata import _benchmark

    first, other = build(), build()
    assert _benchmark(first)['protocol']['text'] == first.protocol.text
    assert _benchmark(first) == _benchmark(other)
    other.items = other.items[:1]
    assert _benchmark(first)['truths'] != _benchmark(other)['truths']
    assert _benchmark(object()) == {}
