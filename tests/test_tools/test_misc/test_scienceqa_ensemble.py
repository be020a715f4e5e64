"""tools/misc/scienceqa_ensemble.py: by hand, from stored answers and from an endpoint."""

import json

import pytest

from tests.test_teacher.conftest import hire, serve, short_waits  # noqa: F401
from tools.dev.make_benchmark_samples import scienceqa as make_samples
from tools.misc import scienceqa_ensemble as tool

# The right answers of the samples 100 to 104 are A B A B A; 100 and 102 have an image.
OURS = 'ABBAC'
THEIRS = ('The answer is B.', 'The answer is B.', 'It depends.', 'The answer is B.', 'Hm.')


@pytest.fixture
def run(tmp_path, capsys):
    make_samples(tmp_path / 'sqa')
    outputs = {str(100 + n): f'So. The answer is {letter}.' for n, letter in enumerate(OURS)}
    (tmp_path / 'ours.json').write_text(json.dumps(dict(outputs=outputs)))
    lines = [dict(question_id=100 + n, text=text) for n, text in enumerate(THEIRS)]
    (tmp_path / 'theirs.jsonl').write_text('\n'.join(map(json.dumps, lines)))

    def call(*more):
        given = [tmp_path / 'sqa', '--answers', tmp_path / 'ours.json', '--out', tmp_path / 'out']
        status = tool.main([*map(str, given), *map(str, more)])
        printed = ''.join(capsys.readouterr())
        lines = [line for line in printed.splitlines() if line.startswith('{')]
        return status, json.loads(lines[-1]) if lines else None, printed

    return call


def test_the_ensembles_of_stored_answers_by_hand(run, tmp_path):
    judged = {'100': 'The answer is A.', '102': 'Unclear.', '103': 'The answer is B.'}
    (tmp_path / 'judged.json').write_text(json.dumps(dict(outputs=judged)))
    stored = ('--teacher-answers', tmp_path / 'theirs.jsonl')
    status, last, _ = run(*stored, '--judge-answers', tmp_path / 'judged.json', '--offline')
    assert status == 0
    assert last == {
        'model': 40.0,  # 100, 101
        'teacher': 40.0,  # 101, 103; two without a letter
        'complement': 40.0,  # B B B B C: 101, 103
        'judge': 60.0,  # A B B B C: 100, 101, 103; where it has no letter, the model's
        'upper bound': 60.0,  # 100, 101, 103
    }
    scores = json.loads((tmp_path / 'out/scores.json').read_text())['scores']
    assert scores['teacher']['unread'] == 40.0
    assert (scores['model']['IMG'], scores['complement']['IMG']) == (50.0, 0.0)


def test_what_is_not_stored_is_asked_and_stored(serve, run, tmp_path):  # noqa: F811
    server = serve(keep=True)
    more = ('--base-url', server.url, '--model', 'm', '--num-shots', '1')
    status, last, _ = run(*more)
    assert status == 0 and set(last) == {'model', 'teacher', 'complement', 'judge', 'upper bound'}
    assert last['upper bound'] >= max(last['judge'], last['complement'], last['model'])
    first = next(b for b in server.seen if len(b['messages']) == 4)['messages']
    assert first[1]['content'].startswith('Can you explain Which colour is number 0?')
    assert first[2]['content'].endswith('The answer is A.')
    asked = [b['messages'][1]['content'] for b in server.seen if len(b['messages']) == 2]
    theirs = json.loads((tmp_path / 'out/teacher.json').read_text())['outputs']
    differ = [n for n in range(5) if theirs[str(100 + n)][-2] != OURS[n]]
    assert len(asked) == len(differ) and all('[First answer]\nSo. The' in text for text in asked)
    before = server.stats()['received']
    assert run(*more)[0] == 0 and server.stats()['received'] == before
    stored = ('--teacher-answers', tmp_path / 'out/teacher.json')
    judged = ('--judge-answers', tmp_path / 'out/judge.json')
    assert run(*stored, *judged, '--offline')[1] == last


@pytest.mark.parametrize(
    ('more', 'status', 'message'),
    [
        (['--split', 'tset'], 2, "unknown split of ScienceQA 'tset'"),
        (['--answers', 'no.json'], 2, 'cannot read no.json'),
        ([], 2, 'no base_url of the teacher'),
        (
            ['--base-url', 'http://127.0.0.1:9/v1', '--model', 'm', '--tries', '1'],
            1,
            'missing: the conn',
        ),
        (['--base-url', 'http://a/v1', '--model', 'm', '--num-shots', '3'], 2, 'expected 0 to 1'),
    ],
)
def test_what_cannot_work_is_told(run, more, status, message):
    found, _, printed = run('--num-shots', '1', *more)
    assert found == status and 'scienceqa_ensemble: ' in printed and message in printed


def test_a_file_without_answers_is_told(run, tmp_path):
    (tmp_path / 'bad.json').write_text('{"results": {}}')
    status, _, printed = run('--teacher-answers', tmp_path / 'bad.json', '--offline')
    assert status == 2 and 'bad.json has no answers; expected {"outputs"' in printed


def test_a_dry_run_asks_nothing(serve, run, tmp_path):  # noqa: F811
    server = serve()
    more = ('--base-url', server.url, '--model', 'm', '--num-shots', '1', '--dry-run')
    status, last, printed = run(*more)
    assert status == 0 and last['requests'] == 5 and '--- 100: user' in printed
    assert server.stats()['received'] == 0 and not (tmp_path / 'out').exists()


def test_a_file_of_the_users_is_not_written_over(serve, run, tmp_path):  # noqa: F811
    (tmp_path / 'out').mkdir()
    settings = json.dumps(dict(base_url=serve().url, model='m'))
    (tmp_path / 'out/teacher.json').write_text(settings)
    status, _, printed = run('--num-shots', '1', '--teacher', tmp_path / 'out/teacher.json')
    assert status == 2 and 'holds files of something else (teacher.json)' in printed
    assert (tmp_path / 'out/teacher.json').read_text() == settings


def test_answers_to_other_problems_are_told(run, tmp_path):
    (tmp_path / 'other.json').write_text('{"outputs": {"1": "The answer is A."}}')
    status, _, printed = run('--teacher-answers', tmp_path / 'other.json', '--offline')
    assert status == 2 and 'other.json answers no problem of the split test' in printed
