"""A finished run is read whole or refused, and two runs are compared value by value."""

import json

import pytest

from mmllava.errors import DataError
from mmllava.evaluation.runs import answer_of, compare, differences, read_run

METADATA = dict(protocol=dict(task='vqa'), environments=[dict(torch='2.0')], scores=dict(a=50.0))
SAMPLES = [
    dict(id=1, pred_answer='a cat', scores=dict(a=1.0)),
    dict(id='2', pred_answer='red \ud800', scores=dict(a=0.0)),
    dict(id=3, pred_answer=None, error='no image'),
]


@pytest.fixture
def write(tmp_path):
    def write(name, samples=SAMPLES, **metadata):
        folder = tmp_path / name
        folder.mkdir()
        (folder / 'run.json').write_text(json.dumps({**METADATA, **metadata}))
        lines = [json.dumps(sample) + '\n' for sample in samples]
        (folder / 'samples.jsonl').write_text(''.join(lines))
        return folder

    return write


def test_a_run_is_read_in_the_order_of_its_samples(write):
    run = read_run(write('a'))
    assert run.metadata == METADATA
    assert list(run.samples.items()) == [(sample['id'], sample) for sample in SAMPLES]
    assert [answer_of(s) for s in run.samples.values()] == ['a cat', 'red \ud800', None]


def test_a_run_that_is_not_whole_is_refused(write, tmp_path):
    with pytest.raises(DataError, match=r'has no run\.json. Name the work folder'):
        read_run(tmp_path)
    with pytest.raises(DataError, match='has not ended: it has no scores yet. Run its command'):
        read_run(write('a', scores=None))
    with pytest.raises(DataError, match=r'line 2 of .* is a second sample 1, expected one of each'):
        read_run(write('b', samples=[SAMPLES[0]] * 2))
    folder = write('c')
    (folder / 'samples.jsonl').write_text('{"id": 1}\n{"id": \n')
    with pytest.raises(DataError, match=r'line 2 of .*samples\.jsonl is not a sample \(Expecting'):
        read_run(folder)
    (folder / 'samples.jsonl').write_text('{}\n')
    with pytest.raises(DataError, match=r"line 1 of .* is not a sample \('id'\)"):
        read_run(folder)


def test_equal_runs_are_equal_whatever_their_machines(write):
    other = write('b', environments=[dict(torch='2.1')])
    found = compare(read_run(write('a')), read_run(other))
    assert found.equal and found.shared == 3
    assert found.environment == [('torch', '2.0', '2.1')]


def test_every_difference_of_two_runs_is_named(write):
    samples = [dict(SAMPLES[0], pred_answer='a dog', scores=dict(a=0.5)), SAMPLES[2], dict(id=4)]
    other = write('b', samples, scores=dict(a=40.0, b=1.0), protocol=dict(task='caption'))
    found = compare(read_run(write('a')), read_run(other))
    assert not found.equal
    assert found.protocol == [('protocol.task', 'vqa', 'caption')]
    assert found.scores == dict(a=(50.0, 40.0), b=(None, 1.0))
    assert found.only == (['2'], [4]) and found.shared == 2
    assert [(key, a['pred_answer'], b['pred_answer']) for key, a, b in found.changed] == [
        (1, 'a cat', 'a dog')
    ]
    assert found.moved == dict(a=(0, 1))


def test_differences_are_of_leaves_by_dotted_name():
    a, b = dict(x=dict(y=1, z=2), w=[1]), dict(x=dict(y=1, z=3), v=None, w=[1, 2])
    assert differences(a, b) == [('x.z', 2, 3), ('w', [1], [1, 2])]
