"""tools/test.py over every benchmark, end to end, on small files in the real formats."""

import json

import pytest

from mmllava.benchmarks.table import BENCHMARKS
from tests.conftest import MODELS, ROOT
from tools import benchmark_samples
from tools import test as tool

CONFIGS = sorted((ROOT / 'configs/benchmarks').glob('*.py'))


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp('samples')
    assert benchmark_samples.main([str(folder)]) == 0
    return folder


def run(config, made, work, capsys):
    text = config.read_text()
    root = text.split("data_root='data")[1].split("'")[0].strip('/')
    done = tool.main(
        [
            *(str(config), str(MODELS / 'llava-v1.5'), '--tower', str(MODELS / 'clip-tiny')),
            *('--work-dir', str(work), '--cfg-options', 'test_dataloader.num_workers=0'),
            f'test_dataloader.dataset.data_root={made / root}',
            'model.generation_cfg.max_new_tokens=4',
        ]
    )
    said = capsys.readouterr()
    assert done == 0, said.err
    return json.loads(said.out.splitlines()[-1])


def test_every_set_has_a_config():
    named = {c.read_text().split("benchmark='")[1].split("'")[0] for c in CONFIGS}
    assert named == set(BENCHMARKS)


@pytest.mark.slow
@pytest.mark.parametrize('config', CONFIGS, ids=lambda c: c.stem)
def test_a_benchmark_runs_end_to_end(config, made, tmp_path, capsys):
    scores = run(config, made, tmp_path / 'w', capsys)
    assert all(isinstance(value, float) for value in scores.values())
    assert 'failed' not in scores
    answers = json.loads((tmp_path / 'w/predictions.json').read_text())
    assert answers
    known = ('card.json', 'samples.jsonl')
    files = [f.name for f in (tmp_path / 'w').iterdir() if f.is_file() and f.name not in known]
    sent = [name for name in files if 'pred' not in name]
    benchmark = config.read_text().split("benchmark='")[1].split("'")[0]
    assert scores or BENCHMARKS[benchmark].submit
    assert len(sent) == 1 + bool(BENCHMARKS[benchmark].submit), sent  # and the config
