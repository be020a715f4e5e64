"""tools/convert.py and tools/model_converters/verify.py, as a user types them."""

import argparse
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmllava.checkpoints import read_entries
from mmllava.errors import CheckpointError
from tests.test_checkpoints.conftest import GOLDEN

ROOT = Path(__file__).parents[2]
TOOLS = dict(
    benchmark='tools/benchmark/convert.py',
    convert='tools/convert.py',
    verify='tools/model_converters/verify.py',
    logits='tools/analysis_tools/compare_logits.py',
)
V15, CLIP = GOLDEN / 'llava-v1.5', GOLDEN / 'clip-tiny'
ENVIRONMENT = {**os.environ, 'PYTHONPATH': str(ROOT)}


def run(tool, *arguments):
    command = [sys.executable, str(ROOT / TOOLS[tool]), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)


def load(name):
    spec = importlib.util.spec_from_file_location(f'{name}_tool', ROOT / TOOLS[name])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    out = tmp_path_factory.mktemp('tool') / 'hf'
    done = run('convert', V15, '--to', 'hf', '--tower', CLIP, '--out', out, '--verify')
    assert (done.returncode, done.stderr) == (0, '')
    return out, done.stdout


def test_what_was_found_is_printed_with_the_reason(exported):
    _, told = exported
    assert 'original: it holds model.' in told and 'a whole model' in told
    assert 'result hf: 80 tensors' in told and '2 padded' in told
    figures = json.loads(told.splitlines()[-1])
    verified = figures['verified']
    assert verified.items() >= dict(tensors=80, files=9, bytes=774_848, equal=80).items()
    assert 'only a whole model with its tower' in verified['logits']
    assert figures.items() >= dict(layout='hf', source_layout='original', tensors=80).items()
    assert 0 < figures['peak_rss_mb'] < 300


def test_a_dry_run_names_every_tensor_and_writes_nothing(tmp_path):
    out = tmp_path / 'out'
    done = run('convert', V15, '--to', 'mmllava', '--dry-run', '--out', out)
    assert done.returncode == 0 and os.listdir(tmp_path) == []
    lines = [line for line in done.stdout.splitlines() if ' -> ' in line]
    assert len(lines) == len(read_entries(V15)) == 25
    assert any('model.mm_projector.0.bias -> projector.layers.0.bias' in line for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize(('to', 'dtype'), [('hf', None), ('mmllava', None), ('hf', 'bfloat16')])
def test_a_verified_result_gives_the_logits_of_its_source(tmp_path, exported, to, dtype):
    out, _ = exported
    source, more = tmp_path / 'source', ['--dtype', dtype] if dtype else []
    assert run('convert', out, '--to', 'original', '--out', source).returncode == 0
    done = run('convert', source, '--to', to, '--out', tmp_path / 'out', '--verify', *more)
    assert (done.returncode, done.stderr) == (0, '')
    logits = json.loads(done.stdout.splitlines()[-1])['verified']['logits']
    assert logits['logits'] == 24 * 1000 and logits['max_logit'] > 1
    assert logits['same'] is not bool(dtype) and logits['max_difference'] < 0.5


def test_two_layouts_of_a_model_give_the_same_logits_and_another_config_does_not(
    tmp_path, exported, capsys
):
    out, _ = exported
    assert run('convert', out, '--to', 'original', '--out', tmp_path / 'back').returncode == 0
    tool = load('logits')
    assert tool.main([str(out), str(tmp_path / 'back')]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told['logits'] == 24 * 1000 and told['max_logit'] > 1
    other = shutil.copytree(out, tmp_path / 'other')
    config = json.loads((other / 'config.json').read_text())
    config['text_config']['rms_norm_eps'] = 0.1
    (other / 'config.json').write_text(json.dumps(config))
    assert tool.main([str(out), str(other)]) == 1
    assert tool.main([str(out), str(GOLDEN / 'llama-base')]) == 2
    assert 'is llama' in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_verify_compares_with_the_manifest_and_with_another_checkpoint(exported, tmp_path):
    out, _ = exported
    done = run('verify', out)
    assert (done.returncode, done.stderr) == (0, '')
    assert json.loads(done.stdout)['same'] is True
    back = tmp_path / 'back.pth'
    assert run('convert', out, '--to', 'mmllava', '--out', back).returncode == 0
    done = run('verify', back, '--against', out)
    assert done.returncode == 0 and 'equal               80 tensors' in done.stdout
    done = run('verify', V15, '--against', out)
    assert done.returncode == 1 and 'only in the second  55' in done.stdout
    done = run('verify', V15, '--against', GOLDEN / 'llava-v1.6')
    assert done.returncode == 1 and 'first that differs' in done.stdout
    assert run('verify', V15).returncode == 2


def test_verify_ends_with_1_where_the_weights_were_changed_and_2_without_a_manifest(
    exported, tmp_path, capsys, monkeypatch
):
    out = shutil.copytree(exported[0], tmp_path / 'out')
    shard = next(out.glob('model-*.safetensors'))
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    tool = load('verify')
    monkeypatch.setattr(tool.signal, 'signal', lambda *_: None)
    assert tool.main([str(out)]) == 1
    assert 'is not what was written there' in capsys.readouterr().err
    manifest = json.loads((out / 'manifest.json').read_text())
    (out / 'manifest.json').write_text(json.dumps({**manifest, 'files': []}))
    assert tool.main([str(out)]) == 2
    assert 'has a list for its files; expected a sum for each' in capsys.readouterr().err
    assert tool.main([str(V15), '--against', str(V15), '--base', str(V15)]) == 2
    assert 'neither needs a base. Leave out --base' in capsys.readouterr().err


def test_logits_that_could_not_be_computed_are_not_called_others(exported, monkeypatch):
    tool = load('convert')
    out, _ = exported
    conversion = tool.prepare_conversion(out, 'mmllava')
    args = tool.parse_args([str(out), '--to', 'mmllava', '--out', 'x'])
    crash = subprocess.CompletedProcess([], 1, '', 'Traceback\nImportError: no torch')
    monkeypatch.setattr(tool.subprocess, 'run', lambda *_, **__: crash)
    assert tool.same_logits(conversion, args) == 'not computed: ImportError: no torch'
    other = subprocess.CompletedProcess([], 1, '{"same": false}', '')
    monkeypatch.setattr(tool.subprocess, 'run', lambda *_, **__: other)
    with pytest.raises(CheckpointError, match='gives other logits than its source'):
        tool.same_logits(conversion, args)


def test_a_resume_that_begins_anew_says_why(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tool = load('convert')
    monkeypatch.setattr(tool.signal, 'signal', lambda *_: None)
    for name, reason in (('a', 'no killed run left'), ('b', 'begun with other settings')):
        if name == 'b':
            (tmp_path / '.b.part-999999999').mkdir()
        assert tool.main([str(V15), '--to', 'mmllava', '--out', name, '--resume']) == 0
        told = capsys.readouterr().out
        assert 'note: it starts over: ' in told and reason in told
    assert tool.what_is_left(argparse.Namespace(written=True, out='a')).startswith(
        'interrupted; a is written'
    )


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['nowhere', '--to', 'hf', '--out', 'x'], 'convert: nowhere does not exist'),
        ([str(V15), '--to', 'hf', '--out', 'x'], 'Add --tower with a folder of its CLIP'),
        ([str(V15), '--to', 'mmllava', '--out', 'no/x'], 'convert: the folder'),
        ([str(V15), '--to', 'mmllava'], 'name a destination by --out'),
        ([str(V15), '--to', 'mmllava', '--out', 'x', '--shard-size', '5 bananas'], 'is no size'),
        ([str(V15), '--to', 'gguf', '--out', 'x'], "invalid choice: 'gguf'"),
        ([str(V15), '--to', 'hf', '--out', 'x', '--from', 'mmpretrain'], 'what no LLaVA has'),
    ],
)
def test_a_refusal_is_one_line_and_exit_status_2(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    tool = load('convert')
    monkeypatch.setattr(tool.signal, 'signal', lambda *_: None)
    try:
        status = tool.main(arguments)
    except SystemExit as caught:
        status = caught.code
    told = capsys.readouterr().err
    assert status == 2 and message in told.splitlines()[-1] and 'Traceback' not in told
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ('text', 'expected'), [('5GB', 5 * 10**9), ('800 mb', 8 * 10**8), ('7', 7), ('1.5k', 1500)]
)
def test_sizes_are_read_as_people_write_them(text, expected):
    assert load('convert').size(text) == expected


@pytest.mark.parametrize('tool', ['convert', 'verify'])
def test_help_comes_at_once_without_heavy_packages(tool):
    watch = (
        'import runpy, sys; sys.argv = sys.argv[1:] + ["--help"]\n'
        'try:\n    runpy.run_path(sys.argv[0], run_name="__main__")\n'
        'except SystemExit:\n    pass\n'
        'heavy = {"torch", "safetensors", "mmengine", "mmpretrain", "transformers"}\n'
        'print("loaded", sorted(heavy & sys.modules.keys()))'
    )
    command = [sys.executable, '-W', 'error', '-c', watch, str(ROOT / TOOLS[tool])]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.stderr == '' and done.stdout.splitlines()[-1] == 'loaded []'


@pytest.mark.slow
def test_a_polite_kill_leaves_nothing_behind(tmp_path):
    slow = (
        'import runpy, sys, time; from mmllava.checkpoints.conversion import stream\n'
        'compute = stream._compute\n'
        'def wait(move, *a):\n'
        '    print("begun", flush=True); time.sleep(0.3)\n'
        '    return compute(move, *a)\n'
        'stream._compute = wait; sys.argv = sys.argv[1:]\n'
        'runpy.run_path(sys.argv[0], run_name="__main__")'
    )
    command = [sys.executable, '-c', slow, ROOT / 'tools/convert.py', V15, '--to', 'mmllava']
    with subprocess.Popen(
        [*map(str, command), '--out', str(tmp_path / 'out')], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    ) as process:  # fmt: skip
        while process.stdout.readline() != 'begun\n':
            assert process.poll() is None
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors == 'convert: interrupted; nothing was written\n'
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_the_benchmark_runs_small(tmp_path):
    rows = tmp_path / 'rows.jsonl'
    size = ['--layers', 2, '--hidden', 256, '--words', 1000]
    done = run('benchmark', tmp_path / 'work', *size, '--results', rows)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in rows.read_text().splitlines()]
    assert [row['conversion'] for row in found] == [
        'original -> hf',
        'hf -> original',
        'delta -> mmllava',
        'lora -> original',
    ]
    assert all(row['peak_rss_mb'] < 300 for row in found)
    assert not (tmp_path / 'work').exists()
