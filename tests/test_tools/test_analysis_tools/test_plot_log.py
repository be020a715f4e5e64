"""A run's log becomes an image, also of a run that was killed."""

import json
import sys

from PIL import Image

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / 'tools/analysis_tools'))
import plot_log

sys.path.pop(0)


def write_log(folder, steps, name='1', tail=''):
    log = folder / name / 'vis_data'
    log.mkdir(parents=True)
    lines = [
        json.dumps(dict(loss=8 / step, lr=1e-3, tokens_per_s=1000.0, padding=0.2, step=step))
        for step in steps
    ]
    (log / 'scalars.json').write_text('\n'.join(lines) + '\n' + tail)


def test_a_run_is_drawn(tmp_path, capsys):
    write_log(tmp_path / 'run', range(1, 200))
    assert plot_log.main([str(tmp_path / 'run')]) == 0
    picture = Image.open(tmp_path / 'run/log.png')
    assert picture.width > 500 and len(picture.convert('RGB').getcolors(1 << 20)) > 50
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said['steps'] == dict(run=199)


def test_a_panel_that_no_log_fills_is_left_out(tmp_path):
    steps = {step: dict(loss=1 / step, lr=1e-3, tokens_per_s=9.0) for step in (1, 2, 3)}
    plot_log.draw(dict(run=steps), tmp_path / 'log.png')
    picture = Image.open(tmp_path / 'log.png').convert('L')
    width, height = picture.size
    corners = [(x, y, x + width // 2, y + height // 2) for y in (0, height // 2) for x in (0, 600)]
    darkest = [picture.crop(corner).getextrema()[0] for corner in corners]
    assert [dark < 100 for dark in darkest] == [True, True, True, False]


def test_two_runs_in_folders_of_one_name_are_told_apart(tmp_path, capsys):
    for parent in ('a', 'b'):
        write_log(tmp_path / parent / 'run', [1, 2])
    folders = [str(tmp_path / parent / 'run') for parent in ('a', 'b')]
    assert plot_log.main(folders) == 0
    assert list(json.loads(capsys.readouterr().out.splitlines()[-1])['steps']) == folders


def test_what_came_last_of_a_step_counts_and_a_line_that_a_kill_cut_is_left_out(tmp_path):
    write_log(tmp_path, [1, 2, 3], '1', tail='{"loss": 3.')
    write_log(tmp_path, [2, 3, 4], '2')
    assert list(plot_log.read_log(tmp_path)) == [1, 2, 3, 4]


def test_a_line_that_is_broken_in_the_middle_is_named(tmp_path, capsys):
    write_log(tmp_path, [1], tail='{"loss"\n{"loss": 1, "step": 2}\n')
    assert plot_log.main([str(tmp_path)]) == 2
    assert 'line 2 of' in capsys.readouterr().err


def test_smoothing_is_the_mean_of_so_many_values_up_to_each():
    assert plot_log.smooth([1.0, 3.0, 5.0], 2) == [1.0, 2.0, 4.0]
    assert plot_log.smooth([], 2) == []


def test_a_folder_without_a_log_is_refused(tmp_path, capsys):
    assert plot_log.main([str(tmp_path)]) == 2
    assert 'has no log of a training run' in capsys.readouterr().err
