"""tools/test.py, as a user types it: scored, resumed, and never stopped by one picture."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import MODELS, ROOT
from tools import test as tool

COUNT = 6


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """The recorded pictures as a COCO-format set of our own."""
    folder = tmp_path_factory.mktemp('coco')
    shutil.copytree(MODELS / 'images', folder / 'images')
    samples = [dict(image=f'images/{k}.png', caption=['a cat']) for k in range(COUNT)]
    (folder / 'val.json').write_text(json.dumps(samples))
    notes = [
        dict(id=10 * k + j, image_id=k, caption=caption)
        for k in range(COUNT)
        for j, caption in enumerate(('a cat on a mat', f'variety suitcase {k}', 'be horse wall'))
    ]
    truth = dict(images=[dict(id=k) for k in range(COUNT)], annotations=notes)
    (folder / 'truth.json').write_text(json.dumps(truth))
    return folder


@pytest.fixture
def config(data, tmp_path):
    file = tmp_path / 'config.py'
    file.write_text(
        f"""
_base_ = ['{ROOT}/demo/llava-random_caption.py']
test_dataloader = dict(batch_size=2, dataset=dict(data_root='{data}', ann_file='val.json'))
test_evaluator = dict(ann_file='{data}/truth.json')
"""
    )
    return file


def run(*args):
    return tool.main([str(a) for a in args])


def scores(capsys):
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def lines_of(folder):
    files = folder.glob('predictions-*.jsonl')
    return [line for file in files for line in file.read_text().splitlines()]


def test_a_set_is_captioned_and_scored(config, merged, tmp_path, capsys):
    args = ('--out', tmp_path / 'out.json', '--show-dir', tmp_path / 'drawn', '--interval', 2)
    assert run(config, merged, '--work-dir', tmp_path / 'w', *args) == 0
    found = scores(capsys)
    assert set(found) == {'Bleu_1', 'Bleu_2', 'Bleu_3', 'Bleu_4', 'ROUGE_L', 'CIDEr'}
    answers = json.loads((tmp_path / 'w/predictions.json').read_text())
    assert [a['image_id'] for a in answers] == list(range(COUNT))
    assert all(a['caption'] for a in answers)
    out = json.loads((tmp_path / 'out.json').read_text())
    assert [o['pred_caption'] for o in out] == [a['caption'] for a in answers]
    assert sorted(f.name for f in (tmp_path / 'drawn').iterdir()) == ['0.png', '2.png', '4.png']


def test_a_second_run_captions_nothing_again_and_gives_the_same_scores(
    config, merged, tmp_path, capsys, monkeypatch
):
    from mmllava.models import Llava

    work = tmp_path / 'w'
    run(config, merged, '--work-dir', work)
    first, predictions = scores(capsys), (work / 'predictions.json').read_bytes()
    (file,) = work.glob('predictions-*.jsonl')
    kept = file.read_bytes().split(b'\n')
    file.write_bytes(b'\n'.join(kept[:3]) + b'\n' + kept[3][:20])  # killed in the fourth line
    asked = []
    predict = Llava.predict
    monkeypatch.setattr(
        Llava, 'predict', lambda self, i, s, **g: asked.extend(s) or predict(self, i, s, **g)
    )
    run(config, merged, '--work-dir', work)
    assert len(asked) == COUNT - 3
    assert scores(capsys) == first
    assert (work / 'predictions.json').read_bytes() == predictions
    assert len(lines_of(work)) == COUNT


def test_other_settings_start_over_and_lose_nothing(config, merged, tmp_path, capsys):
    work = tmp_path / 'w'
    run(config, merged, '--work-dir', work)
    option = ('--cfg-options', 'model.generation_cfg.max_new_tokens=3')
    run(config, merged, '--work-dir', work, *option)
    assert len(list(work.glob('predictions-*.jsonl'))) == 2
    answers = json.loads((work / 'predictions.json').read_text())
    assert all(len(a['caption']) < 40 for a in answers)


def test_a_bad_picture_is_counted_and_retried_and_the_others_are_scored(
    config, merged, data, tmp_path, capsys
):
    picture = data / 'images/3.png'
    good = picture.read_bytes()
    picture.write_bytes(b'nothing')
    try:
        assert run(config, merged, '--work-dir', tmp_path / 'w') == 0
        said = capsys.readouterr()
        assert json.loads(said.out.splitlines()[-1])['failed_images'] == 1
        assert len(json.loads((tmp_path / 'w/predictions.json').read_text())) == COUNT - 1
        assert '3.png is not a picture that Pillow knows' in said.err + said.out
    finally:
        picture.write_bytes(good)
    assert run(config, merged, '--work-dir', tmp_path / 'w') == 0
    assert 'failed_images' not in scores(capsys)
    assert len(json.loads((tmp_path / 'w/predictions.json').read_text())) == COUNT


def test_a_metric_that_fails_loses_no_prediction(config, merged, tmp_path, capsys):
    (tmp_path / 'short.json').write_text(
        json.dumps(dict(images=[dict(id=0)], annotations=[dict(id=0, image_id=0, caption='a')]))
    )
    option = ('--cfg-options', f'test_evaluator.ann_file={tmp_path}/short.json')
    out = tmp_path / 'out.pkl'
    assert run(config, merged, '--work-dir', tmp_path / 'w', '--out', out, *option) == 2
    assert 'is not among the 1 images with references' in capsys.readouterr().err
    assert len(json.loads((tmp_path / 'w/predictions.json').read_text())) == COUNT
    assert out.stat().st_size > 0


def test_a_config_for_mmpretrain_gets_our_metric_by_its_name(config, merged, tmp_path, capsys):
    config.write_text(
        config.read_text()
        + "default_scope = 'mmpretrain'\n"
        + "test_evaluator = dict(_delete_=True, type='COCOCaption', ann_file="
        + config.read_text().split('test_evaluator = dict(ann_file=')[1].strip()[:-1]
        + ')\ntest_cfg = dict(_delete_=True)\n'
    )
    assert run(config, merged, '--work-dir', tmp_path / 'w') == 0
    assert 'CIDEr' in scores(capsys)


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (('nowhere.py', 'x'), 'no config file at nowhere.py'),
        (('CONFIG', './gone'), 'gone does not exist'),
        (
            ('CONFIG', 'MERGED', '--cfg-options', 'model.type=mmllava.Lava'),
            "unknown model type 'Lava'. Did you mean Llava",
        ),
        (
            ('CONFIG', 'MERGED', '--cfg-options', 'test_dataloader.dataset.ann_file=gone.json'),
            'gone.json',
        ),
        (
            ('CONFIG', 'MERGED', '--cfg-options', 'test_evaluator.ann_file=gone_too.json'),
            'gone_too.json',
        ),
        (
            ('CONFIG', 'MERGED', '--cfg-options', 'model.template=vicuna'),
            "unknown template 'vicuna'",
        ),
    ],
)
def test_bad_input_exits_with_2_and_says_why(config, merged, tmp_path, args, message, capsys):
    names = dict(CONFIG=config, MERGED=merged)
    args = [names.get(a, a) for a in args]
    assert run(*args, '--work-dir', tmp_path / 'w') == 2
    assert message in capsys.readouterr().err
    assert not list((tmp_path / 'w').glob('predictions*'))


def test_what_out_holds_needs_a_file(config, capsys):
    with pytest.raises(SystemExit) as exit_:
        run(config, 'x', '--out-item', 'metrics')
    assert exit_.value.code == 2
    assert 'give --out FILE too' in capsys.readouterr().err


def command(config, merged, work, *prefix):
    script = ROOT / 'tools/test.py'
    return [*prefix, str(script), str(config), str(merged), '--work-dir', str(work)]


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_and_ends_with_the_same_numbers(config, merged, tmp_path):
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    whole = subprocess.run(
        command(config, merged, tmp_path / 'whole', sys.executable),
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert whole.returncode == 0, whole.stderr
    # One that waits after each batch, to be killed between two.
    slow = tmp_path / 'slow.py'
    slow.write_text(
        'import sys, time, runpy\n'
        'from mmllava.apis.predictions import PredictionFile as P\n'
        'append = P.append\n'
        'P.append = lambda self, records: (append(self, records), time.sleep(3))\n'
        'sys.argv = sys.argv[1:]\n'
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    work = tmp_path / 'killed'
    process = subprocess.Popen(
        command(config, merged, work, sys.executable, str(slow)),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 200
    while not lines_of(work) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < len(lines_of(work)) < COUNT
    again = subprocess.run(
        command(config, merged, work, sys.executable),
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert again.stdout.splitlines()[-1] == whole.stdout.splitlines()[-1]
    assert len(lines_of(work)) == COUNT  # none captioned twice
    assert 'were done before' in again.stderr + again.stdout


@pytest.mark.slow
def test_two_processes_share_the_set_without_a_gap_or_a_double(config, merged, tmp_path):
    launch = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
    done = subprocess.run(
        [*command(config, merged, tmp_path / 'w', *launch), '--launcher', 'pytorch'],
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    files = sorted((tmp_path / 'w').glob('predictions-*.jsonl'))
    indices = [
        sorted(json.loads(line)['index'] for line in f.read_text().splitlines()) for f in files
    ]
    assert indices == [[0, 2, 4], [1, 3, 5]]
    assert 'CIDEr' in json.loads(done.stdout.splitlines()[-1])


def test_another_annotation_file_or_precision_or_picture_is_predicted_anew(
    config, merged, data, tmp_path, capsys
):
    work, images = tmp_path / 'w', tmp_path / 'data'
    shutil.copytree(data, images)
    config.write_text(config.read_text().replace(str(data), str(images)))
    run(config, merged, '--work-dir', work)
    first = json.loads((work / 'predictions.json').read_text())
    run(config, merged, '--work-dir', work, '--amp')
    assert len(list(work.glob('predictions-*.jsonl'))) == 2
    samples = json.loads((images / 'val.json').read_text())
    (images / 'val.json').write_text(json.dumps(samples[::-1]))
    run(config, merged, '--work-dir', work)
    assert json.loads((work / 'predictions.json').read_text()) == first[::-1]
    shutil.copy(images / 'images/0.png', images / 'images/5.png')
    run(config, merged, '--work-dir', work)
    last = json.loads((work / 'predictions.json').read_text())
    assert last[0]['caption'] == last[-1]['caption'] == first[0]['caption']


def test_a_sample_that_cannot_be_asked_is_counted_and_the_others_are_scored(
    config, merged, tmp_path, capsys, monkeypatch
):
    from mmllava.errors import PromptError
    from mmllava.models import Llava

    encode = Llava.encode_prompt

    def picky(self, sample, num_images=1):
        if sample.get('image_id') == '2':
            raise PromptError('too long')
        return encode(self, sample, num_images)

    monkeypatch.setattr(Llava, 'encode_prompt', picky)
    assert run(config, merged, '--work-dir', tmp_path / 'w') == 0
    assert scores(capsys)['failed_images'] == 1
    assert len(json.loads((tmp_path / 'w/predictions.json').read_text())) == COUNT - 1


def test_what_is_wrong_for_every_sample_ends_the_run(config, merged, tmp_path, capsys):
    option = ('--cfg-options', f'model.tokenizer.name_or_path={tmp_path}')
    assert run(config, merged, '--work-dir', tmp_path / 'w', *option) == 2
    assert 'no tokenizer.model in' in capsys.readouterr().err
    assert not list((tmp_path / 'w').glob('predictions*'))


def test_ctrl_c_says_how_to_go_on(config, merged, tmp_path, capsys, monkeypatch):
    from mmllava.models import Llava

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(Llava, 'predict', stop)
    assert run(config, merged, '--work-dir', tmp_path / 'w') == 130
    assert 'the same command goes on from here' in capsys.readouterr().err
