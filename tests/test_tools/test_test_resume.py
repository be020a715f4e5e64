"""A run is the same however it came about: in batches, killed, in several processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import MODELS, ROOT
from tests.test_tools.conftest import COUNT
from tools import test as tool

ENVIRONMENT = {**os.environ, 'PYTHONPATH': str(ROOT)}
LAUNCH = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
QUESTIONS = [
    'Is it?',
    'What is on the blanket, and what colour is it?',
    'Why?',
    'How many animals can be seen in this image?',
    'Where was this image taken, and by whom?',
]
# A program that waits after each batch, to be killed between two.
SLOW = """
import sys, time, runpy
from mmllava.evaluation.prediction_store import PredictionFile as P
append = P.append
P.append = lambda self, records: (append(self, records), time.sleep(3))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


def command(*args):
    return [sys.executable, *map(str, args)]


def lines_of(folder):
    files = sorted(folder.glob('predictions-*.jsonl'))
    return [[json.loads(line) for line in f.read_text().splitlines()] for f in files]


def outcome(folder):
    """What a run leaves that must not depend on how it went."""
    card = json.loads((folder / 'run.json').read_text())
    kept = {name: card[name] for name in ('protocol', 'scoring', 'counts', 'scores')}
    files = ('predictions.json', 'samples.jsonl')
    return kept, [(folder / name).read_text() for name in files]


@pytest.fixture
def whole(config, merged, tmp_path):
    """The run of one process, uninterrupted."""
    folder = tmp_path / 'whole'
    assert tool.main([str(config), str(merged), '--work-dir', str(folder)]) == 0
    return outcome(folder)


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same_answers_and_scores(
    config, merged, tmp_path, whole
):
    slow, work = tmp_path / 'slow.py', tmp_path / 'killed'
    slow.write_text(SLOW)
    args = (ROOT / 'tools/test.py', config, merged, '--work-dir', work)
    process = subprocess.Popen(
        command(slow, *args),
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 200
    while not lines_of(work) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = sum(map(len, lines_of(work)))
    assert 0 < before < COUNT
    assert tool.main([str(a) for a in args[1:]]) == 0
    assert outcome(work) == whole
    assert sum(map(len, lines_of(work))) == COUNT  # none captioned twice


@pytest.mark.slow
def test_two_processes_share_the_set_and_end_with_the_same_answers_and_scores(
    config, merged, tmp_path, whole
):
    work = tmp_path / 'w'
    done = subprocess.run(
        command(
            *LAUNCH,
            ROOT / 'tools/test.py',
            config,
            merged,
            '--work-dir',
            work,
            '--launcher',
            'pytorch',
        ),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    ids = [[record['id'] for record in file] for file in lines_of(work)]
    assert ids == [['0', '2', '4', '6'], ['1', '3', '5']]
    assert outcome(work) == whole
    # One process goes on where two were.
    (work / 'predictions-1.jsonl').unlink()
    assert tool.main([str(config), str(merged), '--work-dir', str(work)]) == 0
    assert outcome(work) == whole
    card = json.loads((work / 'run.json').read_text())
    assert [e['processes'] for e in card['environments']] == [2, 1]


@pytest.fixture
def vqa_config(tmp_path):
    """Questions of unequal length, in VQAv2's files; their answers go to a file."""
    folder = tmp_path / 'vqa'
    (folder / 'val').mkdir(parents=True)
    asked = []
    for number, question in enumerate(QUESTIONS):
        shutil.copy(MODELS / f'images/{number}.png', folder / f'val/x_{number:012}.png')
        asked.append(dict(question_id=10 * number, image_id=number, question=question))
    (folder / 'questions.json').write_text(json.dumps(dict(questions=asked)))
    file = tmp_path / 'vqa.py'
    file.write_text(
        f"""
_base_ = ['{ROOT}/demo/llava-random_caption.py']
model = dict(task='vqa', preset='vqa_short')
test_dataloader = dict(batch_size=2, dataset=dict(
    _delete_=True,
    type='mmpretrain.COCOVQA', data_root='{folder}', data_prefix='val',
    question_file='questions.json',
    pipeline=[
        dict(type='mmllava.LoadImage', on_error='record'),
        dict(type='mmllava.CLIPResize', size=56, aspect='square'),
        dict(type='mmpretrain.PackInputs', algorithm_keys=['question'],
             meta_keys=['question_id', 'image_id', 'img_path', 'error']),
    ]))
test_evaluator = dict(
    _delete_=True, type='mmpretrain.ReportVQA', file_path='{tmp_path}/submission.json')
"""
    )
    return file


@pytest.mark.slow
def test_questions_are_batched_by_length_and_answered_in_their_own_order(
    vqa_config, merged, tmp_path
):
    work, alone = tmp_path / 'w', tmp_path / 'alone'
    args = [str(vqa_config), str(merged), '--work-dir']
    assert tool.main([*args, str(work)]) == 0
    (asked,) = [[record['id'] for record in file] for file in lines_of(work)]
    assert asked == [10, 30, 40, 0, 20]  # 46, 45, 42, 6 and 4 letters
    found = json.loads((work / 'predictions.json').read_text())
    assert [answer['question_id'] for answer in found] == [0, 10, 20, 30, 40]
    assert json.loads((tmp_path / 'submission.json').read_text()) == found
    option = ['--cfg-options', 'test_dataloader.batch_size=1']
    assert tool.main([*args, str(alone), *option]) == 0
    assert outcome(alone)[1] == outcome(work)[1]
