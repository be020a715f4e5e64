"""A run as a page: whole in one file, escaped, and no image that the run did not read."""

import json
import re
import shutil

import pytest
from PIL import Image

from mmllava.evaluation.prediction_store import file_signature
from tests.conftest import MODELS
from tools.analysis_tools import report as tool

EVIL = '<script>alert("x")</script>&amp; \ud800'


@pytest.fixture
def folder(tmp_path):
    """A run of four samples: two scored, one hostile, one failed."""
    folder = tmp_path / 'a<b>'
    folder.mkdir()
    pictures = [tmp_path / f'{k}.png' for k in range(4)]
    for picture in pictures:
        shutil.copy(MODELS / 'images/0.png', picture)
    samples = [
        dict(id=k, img_path=str(p), image=file_signature(p), question=f'question {k}?')
        for k, p in enumerate(pictures)
    ]
    samples[0] |= dict(pred_answer='a good one', reference='a good one', scores=dict(right=1.0))
    samples[1] |= dict(pred_answer='a bad one', reference=['x', 'y'], scores=dict(right=0.0))
    samples[2] |= dict(question=EVIL, pred_answer=EVIL, reference=EVIL, scores=dict(right=0.5))
    samples[3] |= dict(pred_answer=None, error=f'no image {EVIL}')
    card = dict(
        protocol=dict(prompt=dict(preset='vqa_short', text=EVIL)),
        scoring={},
        environments=[dict(commit='abc')],
        counts=dict(samples=4, predicted=3, failed=1, missing=0),
        scores=dict(accuracy=0.3333333),
    )
    write(folder, card, samples)
    return folder


def write(folder, card, samples):
    (folder / 'run.json').write_text(json.dumps(card))
    (folder / 'samples.jsonl').write_text(''.join(json.dumps(s) + '\n' for s in samples))


def change(folder, **values):
    lines = (folder / 'samples.jsonl').read_text().splitlines()
    samples = [{**json.loads(line), **values} for line in lines]
    write(folder, json.loads((folder / 'run.json').read_text()), samples)


def page(folder, *args):
    assert tool.main([str(folder), *map(str, args)]) == 0
    return (folder / 'report.html').read_text()


def test_the_page_shows_scores_protocol_and_the_worst_first(folder):
    text = page(folder)
    assert '<th>accuracy</th><td>0.3333</td>' in text
    assert '<th>prompt.preset</th><td>vqa_short</td>' in text
    worst = text.split('Worst by right')[1].split('<h2>')[0]
    assert worst.index('a bad one') < worst.index('a good one')
    assert '<b>R</b> x' in worst and '<b>R</b> y' in worst
    assert worst.count('src="data:image/jpeg;base64,') == 3
    assert '<b>failed</b> no image' in text.split('Failed (1 in all)')[1].split('<h2>')[0]


def test_the_page_needs_nothing_beside_it_and_runs_nothing(folder):
    text = page(folder)
    assert '<script' not in text and 'a<b>' not in text
    assert '&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;amp; ?' in text
    assert all(s.startswith('data:') for s in re.findall(r'(?:src|href)="([^"]*)', text))
    assert "default-src 'none'" in text


def test_only_the_file_that_the_run_read_is_shown(folder, tmp_path):
    Image.new('RGB', (9, 9)).save(tmp_path / '0.png')
    (tmp_path / '1.png').unlink()
    text = page(folder)
    assert text.count('is not the file that the run read: moved, or changed since') >= 2
    change(folder, img_path='https://example.org/x.png', picture='https://example.org/x.png')
    assert 'data:image' not in page(folder)


def test_the_same_seed_shows_the_same_samples(folder):
    def shown(seed):
        text = page(folder, '--count', 1, '--seed', seed).split('At random')[1]
        return re.search(r'class="small">(\d)<', text)[1]

    assert shown(3) == shown(3)
    assert len({shown(seed) for seed in range(6)}) > 1


def test_without_scores_of_single_samples_the_page_says_so(folder, capsys):
    change(folder, scores=None)
    text = page(folder)
    assert 'The metric has no per-sample scores' in text and 'Worst by' not in text
    assert tool.main([str(folder), '--by', 'right']) == 2
    assert 'has no per-sample scores' in capsys.readouterr().err


def test_the_sheet_is_one_picture(folder, tmp_path):
    page(folder, '--png', tmp_path / 'new/sheet.png')
    sheet = Image.open(tmp_path / 'new/sheet.png')
    assert sheet.width == 3 * 332 and sheet.height > 100


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (('--by', 'righ'), "unknown per-sample score 'righ'. Did you mean right?"),
        (('--out', 'x.png'), 'x.png does not end in .html'),
        (('--png', 'x.jpg'), 'x.jpg does not end in .png'),
    ],
)
def test_bad_input_is_answered(folder, capsys, args, message):
    assert tool.main([str(folder), *args]) == 2
    assert message in capsys.readouterr().err
    assert not (folder / 'report.html').exists()
    with pytest.raises(SystemExit):
        tool.main([str(folder), '--count', '0'])


def test_a_folder_without_a_run_is_refused(tmp_path, capsys):
    assert tool.main([str(tmp_path)]) == 2
    assert 'has no run.json' in capsys.readouterr().err
