"""tools/misc/generate_data.py, as a user types it: from images in words to rows that train."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.test_teacher.conftest import KEY, hire, serve, short_waits  # noqa: F401
from tests.test_teacher.data import write_pictures
from tools.misc import check_data
from tools.misc import generate_data as tool

ROOT = Path(__file__).parents[3]
MODELS = ROOT / 'tests/golden/models'

SHARED = ROOT.parent / 'shared/data/llava_bench_coco/caps_boxes_coco2014_val_80.jsonl'
TOY = ROOT / 'demo/llava-random_train.py'
needs_shared = pytest.mark.skipif(not SHARED.is_file(), reason='the 80 images are not in ../shared')


def load_train():
    sys.path.insert(0, str(ROOT / 'tools'))
    import train

    sys.path.pop(0)
    return train


@pytest.fixture
def run(tmp_path, capsys):
    """Writes about four images; returns status, the last line, and all that was printed."""
    write_pictures(tmp_path)

    def call(server, *more, out='out'):
        given = ['--images', f'{tmp_path}/images.jsonl', '--out', f'{tmp_path}/{out}']
        status = tool.main([*given, '--base-url', server.url, '--model', 'm', *more])
        printed = ''.join(capsys.readouterr())
        lines = [line for line in printed.splitlines() if line.startswith('{')]
        return status, json.loads(lines[-1]) if lines else None, printed

    return call


@pytest.mark.slow
def test_it_writes_rows_rejections_report_and_samples(serve, run, tmp_path):  # noqa: F811
    server = serve()
    status, last, printed = run(server)
    assert status == 0 and 'complex: kept 4' in printed
    assert (last['rows'], last['rejected'], last['teacher']['requests']['sent']) == (12, 0, 12)
    rows = json.loads((tmp_path / 'out/instruct.json').read_text())
    assert [row['image'] for row in rows] == [f'{n}.png' for n in range(4) for _ in range(3)]
    for name in ('rejected.jsonl', 'report.json', 'report.png', 'samples.md'):
        assert (tmp_path / 'out' / name).is_file()
    assert run(server)[0] == 0 and server.stats()['received'] == 12
    everything = b''.join(f.read_bytes() for f in (tmp_path / 'out').rglob('*') if f.is_file())
    assert KEY.encode() not in everything and KEY not in printed


@pytest.mark.slow
def test_what_is_rejected_or_unanswered_is_kept_beside_with_its_reason(serve, run, tmp_path):  # noqa: F811
    server = serve(answer=lambda messages: "I'm sorry, I cannot see it.")
    status, last, printed = run(server, '--kinds', 'detail')
    assert status == 0 and 'detail: refusal 4' in printed and last['rows'] == 0
    rows = [json.loads(r) for r in (tmp_path / 'out/rejected.jsonl').read_text().splitlines()]
    assert {(r['reason'], r['answer']) for r in rows} == {
        ('refusal', "I'm sorry, I cannot see it.")
    }
    server = serve(faults={'500': 1.0})
    status, last, printed = run(server, '--kinds', 'detail', '--tries', '2', out='other')
    assert status == 1 and last['without_answer'] == 4 and 'no answer 4' in printed
    assert 'no answer (server)' in (tmp_path / 'other/rejected.jsonl').read_text()


@pytest.mark.slow
def test_at_the_budget_it_stops_with_what_there_is_and_goes_on_later(serve, run, tmp_path):  # noqa: F811
    server = serve()
    more = ('--max-total-tokens', '4000', '--concurrency', '1', '--max-tokens', '200')
    status, last, printed = run(server, *more)
    assert status == 1 and 'the budget is reached' in printed
    assert 0 < last['rows'] < 12 and last['rows'] + last['not_asked'] == 12
    assert len(json.loads((tmp_path / 'out/instruct.json').read_text())) == last['rows']
    assert run(server, '--max-tokens', '200')[1]['rows'] == 12
    assert server.stats() == dict(received=12, answered=12, repeated=0, faults={})


def test_a_dry_run_shows_a_prompt_of_each_kind_and_the_cost(serve, run, tmp_path):  # noqa: F811
    prices = ('--usd-per-million-in', '10', '--usd-per-million-out', '30')
    server = serve()
    status, last, printed = run(server, '--dry-run', *prices)
    assert status == 0 and server.stats()['received'] == 0 and not (tmp_path / 'out').exists()
    assert (last['requests'], last['tokens_out_at_most']) == (12, 12 * 1024)
    assert last['usd_at_most'] > 12 * 1024 * 30 / 1e6
    for kind in ('conversation', 'detail', 'complex'):
        assert f'--- 0/{kind}: system\n' in printed
    assert printed.count('cat: [0.1, 0.25, 0.5, 0.123]') == 2  # the conversation sees no boxes


@pytest.mark.slow
def test_a_folder_of_another_run_is_not_written_over(serve, run, tmp_path):  # noqa: F811
    server = serve()
    run(server, '--limit', '1')
    assert run(server, '--limit', '2')[0] == 0  # more images: the same run
    status, _, printed = run(server, '--seed', '5')
    assert status == 2 and 'holds a run with other settings (seed). Name another' in printed
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/instruct.json').write_text('precious')
    assert run(server, out='mine')[0] == 2
    assert (tmp_path / 'mine/instruct.json').read_text() == 'precious'


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        (['--captions', 'c.json'], 'expected --images, or --captions and --instances together'),
        (['--limit', '0'], '--limit is 0, expected 1 or more'),
        (['--recipes', 'nowhere'], 'cannot read nowhere/conversation/system_message.txt'),
        (['--max-usd', '1'], 'max_usd needs prices'),
    ],
)
def test_what_cannot_work_is_told(serve, run, more, message):  # noqa: F811
    status, _, printed = run(serve(), *more)
    assert status == 2 and f'generate_data: {message}' in printed


@pytest.mark.slow
def test_the_result_is_checked_and_trained_on_without_a_step_between(serve, run, tmp_path, capsys):  # noqa: F811
    assert run(serve())[0] == 0
    data = f'train_dataloader.dataset.ann_file={tmp_path}/out/instruct.json'
    out = ('--out', f'{tmp_path}/checked')
    assert check_data.main([str(TOY), *out, '--workers', '0', '--cfg-options', data]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])['records'] == 12
    more = ('--work-dir', f'{tmp_path}/run', '--cfg-options', data, 'train_cfg.max_epochs=1')
    assert load_train().main([str(TOY), *more]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])['steps'] == 3


@pytest.mark.slow
@needs_shared
def test_the_eighty_images_pass_the_check(serve, tmp_path, capsys):  # noqa: F811
    given = ['--images', str(SHARED), '--out', str(tmp_path / 'out')]
    assert tool.main([*given, '--base-url', serve().url, '--model', 'm']) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last['rows'] + last['rejected'] == 240 and last['rows'] > 230
    (tmp_path / 'images').mkdir()
    for row in map(json.loads, SHARED.read_text().splitlines()):
        Image.new('RGB', (64, 48), 'grey').save(tmp_path / 'images' / row['image'])
    folder = 'train_dataloader.dataset'
    data = (
        f'{folder}.ann_file={tmp_path}/out/instruct.json',
        f'{folder}.img_root={tmp_path}/images',
    )
    more = ('--workers', '0', '--out', f'{tmp_path}/checked', '--cfg-options', *data)
    assert check_data.main([str(TOY), *more]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])['records'] == last['rows']
    more = ('--work-dir', f'{tmp_path}/run', '--cfg-options', *data, 'train_cfg.max_epochs=1')
    assert load_train().main([str(TOY), *more]) == 0
    trained = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert abs(trained['steps'] - last['rows'] / 4) < 1


@pytest.mark.slow
def test_killed_twice_it_goes_on_to_the_same_result_and_pays_nothing_twice(serve, tmp_path):  # noqa: F811
    pictures = SHARED if SHARED.is_file() else write_pictures(tmp_path)
    env = os.environ | dict(PYTHONPATH=str(ROOT))

    def start(server, out):
        given = ['--images', pictures, '--out', tmp_path / out, '--model', 'm']
        command = [
            sys.executable,
            ROOT / 'tools/misc/generate_data.py',
            *given,
            '--base-url',
            server.url,
        ]
        return subprocess.Popen([*map(str, command)], env=env, stdout=subprocess.DEVNULL)

    undisturbed = serve()
    assert start(undisturbed, 'whole').wait(120) == 0
    total = undisturbed.stats()['answered']
    server = serve()
    for share in (0.3, 0.7):
        server.stall_after = int(total * share)
        process, deadline = start(server, 'killed'), time.time() + 100
        while True:  # until every answer is in the cache, and the rest are waited for
            kept = len(list((tmp_path / 'killed/cache').glob('*/[!.]*.json')))
            if kept == server.stats()['answered'] >= server.stall_after:
                break
            assert time.time() < deadline and process.poll() is None
            time.sleep(0.1)
        process.kill()
        assert process.wait(30) == -9
        assert not (tmp_path / 'killed/instruct.json').exists()
    server.stall_after = None
    assert start(server, 'killed').wait(120) == 0
    for name in ('instruct.json', 'rejected.jsonl', 'samples.md'):
        assert (tmp_path / 'killed' / name).read_bytes() == (tmp_path / 'whole' / name).read_bytes()
    stats = server.stats()
    assert (stats['answered'], stats['repeated']) == (total, 0)


def test_the_pictures_of_these_tests_are_those_of_the_toy_run():
    assert all((MODELS / 'images' / f'{n}.png').is_file() for n in range(4))
