"""tools/misc/judge.py, as a user types it."""

import json
import re
from pathlib import Path

import pytest

from tests.test_teacher.conftest import hire, serve, short_waits  # noqa: F401
from tests.test_teacher.data import write_lines, write_pictures
from tools.misc import judge as tool

ROOT = Path(__file__).parents[3]

SHARED = ROOT.parent / 'shared/data/llava_bench_coco'


@pytest.fixture
def run(tmp_path, capsys):
    """Judges 12 questions; returns status, the last line, and all that was printed."""
    write_lines(
        tmp_path / 'q.jsonl',
        [
            dict(question_id=n, image=f'{n % 4}.png', text=f'Q{n}?', category='conv')
            for n in range(12)
        ],
    )
    for name, quality in (('good', 9), ('fair', 6)):
        rows = [dict(question_id=n, text=f'quality {quality}, answer {n}') for n in range(12)]
        write_lines(tmp_path / f'{name}.jsonl', rows)
    write_pictures(tmp_path)

    def call(server, *more):
        status = tool.main(
            [
                *('--questions', f'{tmp_path}/q.jsonl', '--references', f'{tmp_path}/good.jsonl'),
                *('--answers', f'{tmp_path}/fair.jsonl', '--context', f'{tmp_path}/images.jsonl'),
                *('--out', f'{tmp_path}/out', '--base-url', server.url, '--model', 'judge', *more),
            ]
        )
        printed = ''.join(capsys.readouterr())
        lines = [line for line in printed.splitlines() if line.startswith('{')]
        return status, json.loads(lines[-1]) if lines else None, printed

    return call


def rate(bias, unread=''):
    """A judge that knows the quality of an answer, and favours what stands first."""

    def answer(messages):
        text = messages[-1]['content']
        first, second = map(int, re.findall(r'quality (\d)', text))
        if unread and unread in text:
            return 'I would rather not say.'
        return f'{first + bias} {second}\nSo it is.'

    return answer


def test_a_fair_judge_gives_one_score_in_both_presets(serve, run, tmp_path):  # noqa: F811
    server = serve(answer=rate(0))
    status, last, printed = run(server)
    assert status == 0 and 'ORDER BIAS' not in printed
    assert last['llava-2023']['score'] == last['careful']['score'] == 66.7
    assert (last['judge']['asked'], last['judge']['answered_by']) == ('judge', {'reference-1': 24})
    stored = json.loads((tmp_path / 'out/scores.json').read_text())
    assert stored['scores']['careful']['conv']['interval'] == [66.7, 66.7]
    assert (stored['bench'], stored['rules'], len(stored['rules_digest'])) == (
        'coco',
        'our own',
        16,
    )
    assert len((tmp_path / 'out/reviews.jsonl').read_text().splitlines()) == 24
    run(server)
    assert server.stats()['received'] == 24  # the second time costs nothing


def test_a_bias_for_the_first_answer_is_found_by_careful_alone(serve, run):  # noqa: F811
    status, last, printed = run(serve(answer=rate(1)))
    assert status == 0
    assert last['llava-2023']['score'] == 60.0  # 6 / 10, and nothing looks wrong
    assert last['careful']['score'] == 68.4  # 6.5 / 9.5
    assert 'ORDER BIAS: an answer is rated +1.0 for standing first' in printed


def test_what_cannot_be_read_is_asked_again_then_left_out_and_counted(serve, run):  # noqa: F811
    server = serve(answer=rate(0, unread='answer 7'))
    status, last, _ = run(server)
    assert status == 0
    # (9 x 11 - 1)/12 = 8.167 and (6 x 11 - 1)/12 = 5.417
    assert last['llava-2023'] == dict(
        score=66.3, reference=81.7, candidate=54.2, questions=12, unread=1
    )
    assert (last['careful']['score'], last['careful']['excluded']) == (66.7, 1)
    assert server.stats()['answered'] == 24 + 4  # both orders, twice more each


def test_a_judge_that_changes_its_mind_is_read_the_second_time(serve, run):  # noqa: F811
    asked = []

    def answer(messages):
        asked.append(messages[-1]['content'])
        return '9 6' if asked.count(asked[-1]) > 1 else 'Hm.'

    status, last, _ = run(serve(answer=answer), '--presets', 'careful')
    assert status == 0 and last['careful']['excluded'] == 0 and 'llava-2023' not in last


def test_without_all_reviews_there_is_no_score_and_a_rerun_goes_on(serve, run, tmp_path):  # noqa: F811
    server = serve(answer=rate(0))
    status, last, printed = run(server, '--max-total-tokens', '2500', '--concurrency', '1')
    assert status == 1 and last['scores'] is None
    assert 'the budget is reached' in printed and not (tmp_path / 'out/scores.json').exists()
    before = server.stats()['answered']
    assert 0 < before < 24
    assert run(server)[0] == 0
    assert server.stats() == dict(received=24, answered=24, repeated=0, faults={})


def test_a_dry_run_shows_both_orders_and_asks_nothing(serve, run, tmp_path):  # noqa: F811
    server = serve()
    prices = ('--usd-per-million-in', '10', '--usd-per-million-out', '30')
    status, last, printed = run(server, '--dry-run', *prices)
    assert status == 0 and server.stats()['received'] == 0 and not (tmp_path / 'out').exists()
    assert (last['requests'], last['cached'], last['tokens_out_at_most']) == (24, 0, 24 * 1024)
    assert last['usd_at_most'] == pytest.approx(
        (last['tokens_in'] * 10 + 24 * 1024 * 30) / 1e6, abs=1e-3
    )
    assert '--- 0/as-2023: user\n[Context]\nA cat on' in printed and '0/swapped: user' in printed


def test_ratings_of_nothing_are_no_score(serve, run):  # noqa: F811
    status, last, printed = run(serve(answer=lambda _: '0 0'))
    assert status == 0 and last['llava-2023']['score'] is None and printed.count('none') == 4
    assert last['careful']['excluded'] == 12


def test_a_folder_of_something_else_is_not_written_over(serve, run, tmp_path):  # noqa: F811
    server = serve(answer=rate(0))
    assert run(server)[0] == 0
    before = (tmp_path / 'out/scores.json').read_bytes()
    status, _, printed = run(server, '--answers', f'{tmp_path}/good.jsonl')
    assert status == 2 and 'holds a run with other settings (answers). Name another' in printed
    assert (tmp_path / 'out/scores.json').read_bytes() == before
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/scores.json').write_text('precious')
    status, _, printed = run(server, '--out', f'{tmp_path}/mine')
    assert status == 2 and 'holds files of something else (scores.json)' in printed
    assert (tmp_path / 'mine/scores.json').read_text() == 'precious'
    assert server.stats()['received'] == 24


def test_a_folder_that_cannot_be_written_is_found_before_anything_is_paid(serve, run, tmp_path):  # noqa: F811
    server = serve(answer=rate(0))
    (tmp_path / 'out').write_text('a file')
    status, _, printed = run(server)
    assert status == 2 and 'Traceback' not in printed and f'{tmp_path}/out' in printed
    assert server.stats()['received'] == 0


def test_a_missing_file_is_told(serve, run, tmp_path):  # noqa: F811
    status, _, printed = run(serve(), '--answers', str(tmp_path / 'no.jsonl'))
    assert status == 2 and 'judge: cannot read' in printed and 'no.jsonl' in printed


@pytest.mark.skipif(not SHARED.is_dir(), reason='LLaVA-Bench (COCO) is not in ../shared')
@pytest.mark.slow
def test_the_ninety_questions_of_llava_bench_are_judged(serve, run):  # noqa: F811
    server = serve(keep=True)
    status, last, _ = run(
        server,
        *('--questions', f'{SHARED}/qa90_questions.jsonl'),
        *('--references', f'{SHARED}/qa90_gpt4_answer.jsonl'),
        *('--answers', f'{SHARED}/qa90_gpt4_answer.jsonl'),
        *('--context', f'{SHARED}/caps_boxes_coco2014_val_80.jsonl', '--presets', 'llava-2023'),
    )
    assert status == 0 and last['llava-2023']['questions'] == 90
    texts = [body['messages'][1]['content'] for body in server.seen]
    assert all(text.startswith('[Context]\n') and ': [0.' in text for text in texts)
    ratings = [tool_rating(text) for text in texts]
    expected = (
        100 * round(sum(b for _, b in ratings) / 90, 3) / round(sum(a for a, _ in ratings) / 90, 3)
    )
    assert last['llava-2023']['score'] == round(expected, 1)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason='LLaVA-Bench (COCO) is not in ../shared')
def test_on_the_ninety_questions_careful_alone_finds_who_favours_the_first(serve, run, tmp_path):  # noqa: F811
    """The candidate is as good as the reference; the judge adds 2 to what stands first."""
    rows = [json.loads(r) for r in (SHARED / 'qa90_gpt4_answer.jsonl').read_text().splitlines()]
    write_lines(tmp_path / 'same.jsonl', [r | dict(text=r['text'] + ' So.') for r in rows])

    def answer(messages):
        question = messages[-1]['content'].partition('[Assistant 1]')[0]
        quality = 5 + len(question) % 4  # differs by question, not by answer
        return f'{quality + 2} {quality}'

    _, last, printed = run(
        serve(answer=answer),
        *('--questions', f'{SHARED}/qa90_questions.jsonl'),
        *('--references', f'{SHARED}/qa90_gpt4_answer.jsonl'),
        *('--answers', f'{tmp_path}/same.jsonl'),
        *('--context', f'{SHARED}/caps_boxes_coco2014_val_80.jsonl'),
    )
    assert last['llava-2023']['score'] < 80  # and nothing says that it is the order
    assert (last['careful']['score'], last['careful']['first_bias']) == (100.0, 2.0)
    assert last['careful']['questions'] == 90 and last['careful']['interval'] == [100.0, 100.0]
    assert 'ORDER BIAS: an answer is rated +2.0 for standing first' in printed


def tool_rating(text):
    """What the reference server says of a judge's question."""
    from tools.dev.teacher_server import reply

    return [int(n) for n in reply([dict(role='user', content=text)]).split('\n')[0].split()]
