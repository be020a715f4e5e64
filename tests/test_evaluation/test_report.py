"""A report shows the worst, the failed and some random samples of a run."""

from pathlib import Path

import pytest

from mmllava.errors import ConfigError, DataError
from mmllava.evaluation.report import choose, make_html, make_sheet
from mmllava.evaluation.runs import Run


def make_run(scores, failed=1):
    samples = [
        dict(id=k, question=f'q{k}', pred_answer=f'a{k}', scores=each)
        for k, each in enumerate(scores)
    ]
    samples += [dict(id=f'f{k}', pred_answer=None, error='<gone>') for k in range(failed)]
    metadata = dict(protocol=dict(task='vqa'), scores=dict(CIDEr=1.0))
    return Run(Path('work/a'), metadata, {sample['id']: sample for sample in samples})


def ids(samples):
    return [sample['id'] for sample in samples]


def test_the_worst_come_first_and_a_failed_sample_is_never_among_them():
    run = make_run([dict(x=3, CIDEr=0.2), dict(x=1, CIDEr=0.9), dict(x=2, CIDEr=0.5)])
    chosen = choose(run, count=2)
    assert (chosen.by, ids(chosen.worst), ids(chosen.failed)) == ('CIDEr', [0, 2], ['f0'])
    assert ids(choose(run, 2, by='x').worst) == [1, 2]
    assert len(chosen.random) == 2 and 'f0' not in ids(choose(run, 9).random)


def test_a_seed_chooses_the_same_samples_again():
    run = make_run([dict(x=k) for k in range(50)])
    assert ids(choose(run, 5, seed=1).random) == ids(choose(run, 5, seed=1).random)
    assert ids(choose(run, 5, seed=1).random) != ids(choose(run, 5, seed=2).random)


def test_what_cannot_be_shown_is_answered():
    with pytest.raises(DataError, match='has no sample to show, expected one or more'):
        choose(make_run([], failed=0))
    with pytest.raises(ConfigError, match="unknown per-sample score 'y'"):
        choose(make_run([dict(x=1)]), by='y')
    with pytest.raises(ConfigError, match='has no per-sample scores'):
        choose(make_run([None]), by='x')
    run = make_run([])
    with pytest.raises(DataError, match='has an answer to draw'):
        make_sheet(run, choose(run))


def test_the_page_escapes_and_the_sheet_holds_a_tile_per_sample():
    run = make_run([dict(x=k) for k in range(5)])
    chosen = choose(run)
    page = make_html(run, chosen)
    assert '&lt;gone&gt;' in page and '<gone>' not in page and 'Worst by x' in page
    one = make_sheet(make_run([dict(x=1)]), choose(make_run([dict(x=1)])))
    assert make_sheet(run, chosen).size > (3 * one.width, one.height)
