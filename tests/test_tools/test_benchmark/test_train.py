"""tools/benchmark/train.py at its smallest, and the rows that it has made."""

import json
import sys

import pytest

from tests.conftest import ROOT

FOLDER = ROOT / 'tools/benchmark'
KEYS = {
    *('commit', 'torch', 'transformers', 'device', 'threads', 'size', 'dtype', 'batch_size'),
    *('rounds', 'padding', 'matmul_tflops', 'ratio', 'median_ratio', 'loss_difference'),
    *('ours', 'theirs'),
}


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import importlib.util

    spec = importlib.util.spec_from_file_location('benchmark_train', FOLDER / 'train.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop('packing', None)


MACHINE = {'python', 'machine', 'cpus'}  # later rows say these too


def check(row):
    assert set(row) - MACHINE == KEYS
    assert row['loss_difference'] < (2e-2 if row['dtype'] == 'bfloat16' else 1e-4)
    for side in ('ours', 'theirs'):
        assert row[side]['tokens_per_s'] > 0
        assert 0 < row[side]['flops_share'] < 1
        on_cpu = row['dtype'] == 'float32'  # each device has its own
        assert (row[side]['peak_gb'] is None) == on_cpu
    rates = row['ours']['tokens_per_s'] / row['theirs']['tokens_per_s']
    assert row['ratio'] == pytest.approx(rates, rel=0.02)


def test_the_rows_that_are_kept_are_whole():
    rows = [json.loads(x) for x in (FOLDER / 'results/train.jsonl').read_text().splitlines()]
    assert rows
    for row in rows:
        check(row)


def test_what_must_be_computed_is_counted_by_hand(tool):
    """One block of width 4 and 8, two heads of one word each, no adapter, a text of 3 tokens."""
    from mmllava.models import LanguageModel

    language = LanguageModel(
        vocab_size=10, hidden_size=4, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=2,
    )  # fmt: skip
    model = type('Model', (), {})()
    model.language = language
    model.vision_tower = type('Tower', (), dict(parameters=lambda _: iter([]), num_patches=4))()
    weights = 4 * 4 * 4 + 3 * 4 * 8 + 10 * 4  # attention's four, the MLP's three, the words'
    samples = tool.Samples([-3], words=10, side_px=2)
    assert tool.flops(model, samples) == 4 * weights * 3 + 6 * 4 * 3 * 3


@pytest.mark.slow
def test_both_sides_learn_the_same_at_the_smallest_size(tool, tmp_path, monkeypatch):
    pytest.importorskip('peft')
    monkeypatch.setattr(tool, 'matmul_rate', lambda *_: 1e12)
    tool.SMALL['lang_encoder'].update(hidden_size=64, intermediate_size=96, num_hidden_layers=1)
    file = tmp_path / 'rows.jsonl'
    assert tool.main(['--batch-size', '2', '--rounds', '1', '--results', str(file)]) == 0
    row = json.loads(file.read_text())
    check(row)
    assert set(row) >= MACHINE
    tool.LIMITS['float32'] = -1
    assert tool.main(['--batch-size', '2', '--rounds', '1', '--results', str(file)]) == 1
    assert len(file.read_text().splitlines()) == 1
