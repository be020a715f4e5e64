"""The command-line doors to caption scores."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCORE = 'analysis_tools/score_captions.py'
RECORDED = ROOT / 'tests/golden/captions/scores.json'


def tool(name, *arguments, cwd):
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    return subprocess.run(
        [sys.executable, str(ROOT / 'tools' / name), *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, 'PYTHONPATH': paths},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def predictions(tmp_path):
    path = tmp_path / 'preds.json'
    path.write_text(json.dumps(json.loads(RECORDED.read_text())['predictions']))
    return path


def test_the_last_line_is_the_scores_and_out_holds_each_image(predictions, tmp_path):
    out = tmp_path / 'scores.json'
    done = tool(SCORE, RECORDED, predictions, '--out', out, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = json.loads(RECORDED.read_text())['corpus']
    last = json.loads(done.stdout.splitlines()[-1])
    assert last.pop('images') == 30
    assert last.pop('failed') == {}
    assert last == pytest.approx(expected, abs=1e-9)
    written = json.loads(out.read_text())
    assert len(written['per_image']) == 30
    assert set(written['per_image'][0]) == {'image_id', *expected}
    assert sorted(p.name for p in tmp_path.iterdir()) == ['preds.json', 'scores.json']


def test_a_refusal_is_on_stderr_and_leaves_no_file(tmp_path):
    out = tmp_path / 'scores.json'
    done = tool(SCORE, RECORDED, RECORDED, '--out', out, cwd=tmp_path)
    assert done.returncode == 2
    assert 'score_captions: ' in done.stderr and 'expected a list' in done.stderr
    assert done.stdout == '' and not out.exists()


def test_a_missing_folder_for_the_scores_is_refused_first(predictions, tmp_path):
    out = tmp_path / 'no' / 's.json'
    done = tool(SCORE, RECORDED, predictions, '--out', out, cwd=tmp_path)
    assert done.returncode == 2
    assert 'no folder' in done.stderr and done.stdout == ''


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec('pycocoevalcap') is None or shutil.which('java') is None,
    reason='pycocoevalcap or Java is missing',
)
def test_the_benchmark_compares_the_two_and_keeps_a_row(tmp_path):
    out = tmp_path / 'row.jsonl'
    done = tool(
        'benchmark/caption_metrics.py', '--images', 40, '--rounds', 1, '--out', out, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    row = json.loads(out.read_text())
    assert row['images'] == 40
    assert row['largest_difference'] <= 1e-9
    assert row == json.loads(done.stdout.splitlines()[-1])
