"""The repository's tools on the model in the package: what they measure is true."""

import json
import sys

import pytest

from mmllava.apis.load import WEIGHTS
from projects.llava_tiny import build_dataset
from tests.conftest import ROOT
from tools import test as tool


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp('world')
    scenes = build_dataset.write_images(folder, 'test', 60)
    build_dataset.write_captions(folder, scenes, 'test')
    build_dataset.write_questions(folder, scenes, 'test', 80)
    return folder


def run(name, work, world, capsys, *options):
    args = [str(ROOT / f'configs/tiny/{name}.py'), str(WEIGHTS), '--work-dir', str(work)]
    options = [f'test_dataloader.dataset.data_root={world}', *options]
    assert tool.main([*args, '--cfg-options', *options]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.slow
def test_captions_score_as_five_references_written_from_the_same_scene(tmp_path, world, capsys):
    answers = f'test_evaluator.ann_file={world}/test_gt.json'
    found = run('llava-tiny_caption', tmp_path, world, capsys, answers)
    assert found['Bleu_4'] > 0.9 and found['ROUGE_L'] > 0.95


@pytest.mark.slow
def test_questions_are_answered_through_mmpretrains_dataset(tmp_path, world, capsys):
    file = tmp_path / 'report.json'
    run('llava-tiny_vqa', tmp_path, world, capsys, f'test_evaluator.file_path={file}')
    wanted = json.loads((world / 'test_answers.json').read_text())['annotations']
    wanted = {row['question_id']: row['multiple_choice_answer'] for row in wanted}
    said = {row['question_id']: row['answer'] for row in json.loads(file.read_text())}
    assert said.keys() == wanted.keys()
    assert sum(said[k].lower() == wanted[k] for k in wanted) >= 0.93 * len(wanted)


@pytest.mark.slow
def test_the_measurement_of_the_figures_runs_and_keeps_no_row_unless_told(capsys, monkeypatch):
    monkeypatch.setattr(sys, 'path', [str(ROOT / 'projects/llava_tiny/tools'), *sys.path])
    import evaluate

    before = evaluate.RESULTS.read_text()
    counts = ('--scenes', '20', '--questions', '40', '--talks', '4')
    assert evaluate.main([*counts, '--no-row']) == 0
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert evaluate.RESULTS.read_text() == before
    assert row['captions']['right'] >= 0.9 and row['vqa']['all'] >= 0.9
    assert row['vqa_blind']['all'] <= 0.5 and row['checkpoint'] == 'package'
