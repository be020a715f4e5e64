"""Small files in the real formats, made by the script that users have too; ways to spoil them."""

import json
import shutil

import pytest

from mmllava.errors import DataError
from mmllava.registry import DATASETS, METRICS
from tests.conftest import ROOT
from tools.dev import make_benchmark_samples as benchmark_samples

PIPELINE = [
    dict(type='mmllava.LoadImage'),
    dict(type='mmllava.CLIPResize', size=56, aspect='pad'),
    dict(type='mmpretrain.PackInputs', algorithm_keys=['question'], meta_keys=['question_id']),
]


@pytest.fixture(scope='session')
def made(tmp_path_factory):
    """A folder with the files of every benchmark."""
    folder = tmp_path_factory.mktemp('samples')
    assert benchmark_samples.main([str(folder)]) == 0
    return folder


@pytest.fixture
def copied(made, tmp_path):
    """Copies the files of one set, to be spoiled."""

    def copied(name):
        return shutil.copytree(made / name, tmp_path / name)

    return copied


@pytest.fixture
def spoil():
    """Changes a JSON file in place."""

    def spoil(file, change):
        content = json.loads(file.read_text())
        changed = change(content)
        file.write_text(json.dumps(content if changed is None else changed))
        return file

    return spoil


@pytest.fixture
def build_dataset(made):
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
def build_metric():
    """Builds the metric over a dataset."""

    def build_metric(dataset, **settings):
        built = METRICS.build(dict(type='mmllava.BenchmarkMetric', **settings))
        built.dataset_meta = dataset.metainfo
        return built

    return build_metric


@pytest.fixture
def refused(copied, spoil):
    """Asserts that a reader refuses a spoiled file, naming the file and a fix."""

    def refused(folder, file, change, message, read):
        folder = copied(folder)
        if isinstance(change, str):
            (folder / file).write_text(change)
        else:
            spoil(folder / file, change)
        with pytest.raises(DataError, match=message) as error:
            read(folder)
        assert file in str(error.value)
        assert str(error.value).rstrip().endswith(('.', '?'))

    return refused


def tool_arguments(made, config, root):
    """Builds the config of a benchmark and the option that points it to a folder."""
    config = ROOT / f'configs/benchmarks/{config}.py'
    return config, f'test_dataloader.dataset.data_root={made / root}'


def drop(name, key=None):
    """Builds a change that removes a key of the second record."""

    def change(content):
        rows = content[name] if name else content
        rows = list(rows.values()) if isinstance(rows, dict) else rows
        del rows[1][key]

    return change


def twice(name):
    """Builds a change that appends the first record again."""
    return lambda content: (content[name] if name else content).append(
        (content[name] if name else content)[0]
    )


def run(metric, answers):
    """Scores one answer for each item, None where there is none."""
    metric.process(None, [dict(index=k, pred_answer=a) for k, a in enumerate(answers)])
    return metric.evaluate(len(answers))
