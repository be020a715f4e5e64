"""The documented commands, as a user types them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmllava.checkpoints import read_entries
from tests.test_checkpoints.conftest import GOLDEN, Pair

ROOT = Path(__file__).parents[3]
TOOL = ROOT / 'tools/model_converters/llava-delta2mmpre.py'
BENCHMARK = ROOT / 'tools/benchmark/merge.py'
ENVIRONMENT = {**os.environ, 'PYTHONPATH': str(ROOT)}


@pytest.fixture
def pair(tmp_path):
    return Pair(tmp_path)


def run(*arguments, tool=TOOL, python=()):
    command = [sys.executable, *python, str(tool), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)


@pytest.mark.slow
def test_three_positions_and_the_option_mean_the_same(pair):
    one, two = pair.root / 'one.pth', pair.root / 'two.pth'
    first = run(pair.base, pair.delta, one)
    second = run(pair.base, two, '--delta', pair.delta)
    third = run('--delta', pair.delta, pair.base, '--overwrite', two)
    for done in (first, second, third):
        assert (done.returncode, done.stderr) == (0, '')
    assert one.read_bytes() == two.read_bytes()
    figures = json.loads(first.stdout.splitlines()[-1])
    expected = dict(tensors=23, bytes=288_384, added=19, grown=2, whole=2, dropped=1)
    assert figures.items() >= expected.items()
    assert 'dropped model.layers.0.self_attn.rotary_emb.inv_freq' in first.stdout
    assert f'name {pair.delta} as tokenizer' in first.stdout


def test_a_destination_without_pth_is_a_folder(pair):
    done = run(pair.base, pair.delta, pair.root / 'merged', '--tower', GOLDEN / 'clip-tiny')
    assert (done.returncode, done.stderr) == (0, '')
    assert len(read_entries(pair.root / 'merged')) == 23 + 55
    assert 'note:' not in done.stdout


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['nowhere', 'delta', 'm.pth'], 'llava-delta2mmpre: nowhere does not exist'),
        (['base', 'base', 'm.pth'], 'llava-delta2mmpre: the delta has no model.mm_projector.'),
        (['base', 'delta', 'no/m.pth'], 'llava-delta2mmpre: the folder'),
        (['base', 'delta', 'm.bin'], 'llava-delta2mmpre: m.bin ends in .bin'),
        (['base', 'delta'], '2 names given, 3 expected: BASE DELTA DST'),
        (['a', 'b', 'c', '--delta', 'd'], '3 names given, 2 expected: BASE DST'),
    ],
)
def test_a_refusal_is_one_line_and_exit_status_2(pair, monkeypatch, arguments, message):
    monkeypatch.chdir(pair.root)
    before = pair.listing()
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert 'Traceback' not in done.stderr
    assert pair.listing() == before


def test_help_comes_at_once_without_heavy_packages_or_noise():
    watch = (
        'import runpy, sys; sys.argv = [sys.argv[1], "--help"]\n'
        'try: runpy.run_path(sys.argv[0], run_name="__main__")\n'
        'except SystemExit: pass\n'
        'heavy = {"torch", "mmengine", "mmpretrain", "transformers", "huggingface_hub"}\n'
        'print("loaded", sorted(heavy & sys.modules.keys()))'
    )
    start = time.monotonic()
    command = [sys.executable, '-W', 'error', '-c', watch, str(TOOL)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert time.monotonic() - start < 2
    assert done.stderr == ''
    assert done.stdout.splitlines()[-1] == 'loaded []'
    assert 'usage: llava-delta2mmpre.py BASE DELTA DST' in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize('kind', [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_merge_leaves_nothing_behind(pair, kind):
    # A merge that waits in the middle, until it is interrupted.
    slow = (
        'import runpy, sys, time; from mmllava.checkpoints.conversion import stream\n'
        'compute = stream._compute; stream.WORKERS = 1\n'
        'def wait(move, *a):\n'
        '    print(move.name, flush=True); time.sleep(0.5)\n'
        '    return compute(move, *a)\n'
        'stream._compute = wait; sys.argv = sys.argv[1:]\n'
        'runpy.run_path(sys.argv[0], run_name="__main__")'
    )
    before = pair.listing()
    command = [sys.executable, '-c', slow, TOOL, pair.base, pair.delta, pair.root / 'm']
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=ENVIRONMENT,
    ) as process:  # fmt: skip
        while process.stdout.readline() != 'model.layers.0.self_attn.k_proj.weight\n':
            assert process.poll() is None
        assert pair.listing() != before
        process.send_signal(kind)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors == 'llava-delta2mmpre: interrupted; nothing was written\n'
    assert pair.listing() == before


@pytest.mark.slow
def test_the_benchmark_runs_small(tmp_path):
    rows = tmp_path / 'rows.jsonl'
    size = ['--layers', 2, '--hidden', 1024, '--words', 2000]
    done = run(tmp_path / 'work', *size, '--results', rows, tool=BENCHMARK)
    assert done.returncode == 0, done.stderr
    row = json.loads(rows.read_text())
    assert row['tensors'] == 23 and row['output_bytes'] > 50e6
    assert row['peak_rss_mb'] < 300
    assert not (tmp_path / 'work').exists()
