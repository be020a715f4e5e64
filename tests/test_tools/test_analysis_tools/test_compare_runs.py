"""What differs between two runs is found: protocol, scores, samples."""

import json

import pytest

from tools.analysis_tools import compare_runs as tool

CARD = dict(
    format=1,
    protocol=dict(prompt=dict(preset='vqa_short'), decoding=dict(max_new_tokens=8)),
    scoring=dict(files={'truth.json': 'ab'}),
    environments=[dict(commit='1')],
    scores=dict(accuracy=0.5),
)
SAMPLES = [
    dict(id=1, question='Is it?', pred_answer='yes', reference='yes', scores=dict(right=1.0)),
    dict(id=2, question='Why?', pred_answer='so', reference='because', scores=dict(right=0.0)),
    dict(id=3, question='Who?', pred_answer=None, error='no image at x.png'),
]


@pytest.fixture
def write(tmp_path):
    def write(name, samples=SAMPLES, **card):
        folder = tmp_path / name
        folder.mkdir()
        (folder / 'run.json').write_text(json.dumps({**CARD, **card}))
        (folder / 'samples.jsonl').write_text(''.join(json.dumps(s) + '\n' for s in samples))
        return folder

    return write


def run(capsys, *args):
    status = tool.main([str(a) for a in args])
    said = capsys.readouterr()
    return status, said.out + said.err, said.out.splitlines()[-1:]


def test_two_equal_runs_are_equal_on_whatever_machine(write, capsys):
    a, b = write('a'), write('b', environments=[dict(commit='0'), dict(commit='2')])
    status, said, last = run(capsys, a, b)
    assert status == 0
    assert 'protocol: the same' in said and 'scores: the same' in said
    assert "commit\n    A: '1'\n    B: '2'" in said
    assert json.loads(last[0])['equal'] is True


def test_what_decides_a_score_is_named_field_by_field(write, capsys):
    b = write(
        'b',
        protocol=dict(prompt=dict(preset='describe'), decoding=dict(max_new_tokens=8)),
        scoring=dict(files={'truth.json': 'cd'}),
    )
    status, said, last = run(capsys, write('a'), b)
    assert status == 1
    assert "prompt.preset\n    A: 'vqa_short'\n    B: 'describe'" in said
    names = ['protocol.prompt.preset', 'scoring.files.truth.json']
    assert json.loads(last[0])['protocol'] == names


def test_changed_samples_are_shown_with_what_they_scored(write, capsys):
    changed = [
        {**SAMPLES[0], 'pred_answer': 'no', 'scores': dict(right=0.0)},
        {**SAMPLES[1], 'pred_answer': 'because', 'scores': dict(right=1.0)},
        dict(id=4, pred_answer='a'),
    ]
    status, said, last = run(capsys, write('a'), write('b', changed, scores=dict(accuracy=0.75)))
    assert status == 1
    assert 'accuracy: 0.5 -> 0.75  (+0.25)' in said
    assert 'samples that only A has: 1, the first is 3' in said
    assert 'samples answered differently: 2 of 2' in said
    assert 'right: 1 better, 1 worse in B' in said
    assert "    A: 'so'  right=0\n    B: 'because'  right=1\n    reference: 'because'" in said
    found = json.loads(last[0])
    assert (found['changed'], found['only_a'], found['only_b']) == (2, 1, 1)


def test_a_failed_sample_is_no_empty_answer(write, capsys):
    answered = [*SAMPLES[:2], {**SAMPLES[2], 'pred_answer': '', 'error': None}]
    status, said, _ = run(capsys, write('a'), write('b', answered))
    assert status == 1
    assert "A: None  failed: 'no image at x.png'\n    B: ''" in said


def test_the_rest_of_many_changes_is_counted(write, capsys):
    a = [dict(id=k, pred_caption='a') for k in range(12)]
    b = [dict(id=k, pred_caption='b') for k in range(12)]
    folders = write('a', a), write('b', b)
    assert 'and 2 more: --limit 0 prints all' in run(capsys, *folders)[1]
    assert '11: ' in run(capsys, *folders, '--limit', 0)[1]


@pytest.mark.parametrize(
    ('break_it', 'message'),
    [
        (lambda f: (f / 'run.json').unlink(), 'has no run.json. Name the work folder of a run'),
        (lambda f: (f / 'run.json').write_text('{'), 'run.json is not JSON'),
        (lambda f: (f / 'run.json').write_text('{"scores": 1}'), 'has no protocol'),
        (lambda f: (f / 'run.json').write_text('{"protocol": {}}'), 'has not ended: it has no'),
        (lambda f: (f / 'samples.jsonl').unlink(), 'has not ended: it has no scores yet'),
        (lambda f: (f / 'samples.jsonl').write_text('[1]\n'), 'line 1 of'),
        (lambda f: (f / 'samples.jsonl').write_text('{"id": 1}\n' * 2), 'is a second sample 1'),
    ],
)
def test_what_is_no_finished_run_is_refused(write, capsys, break_it, message):
    a, b = write('a'), write('b')
    break_it(b)
    status, said, _ = run(capsys, a, b)
    assert (status, message in said) == (2, True), said
