#!/usr/bin/env python
"""Rates answers against reference answers with a teacher: LLaVA-Bench's relative score.

  # LLaVA-Bench (COCO): captions and boxes tell the judge of the image
  python tools/misc/judge.py --questions qa90_questions.jsonl --references qa90_gpt4_answer.jsonl \\
      --answers mine.jsonl --context caps_boxes_coco2014_val_80.jsonl --out judged/ \\
      --base-url https://api.openai.com/v1 --model MODEL

  # LLaVA-Bench (In-the-Wild): --bench wild; any questions without images: --bench general

Questions are JSON lines of question_id, text, category and image, answers of question_id and
text. Two presets are computed, and printed side by side:

  llava-2023  as the authors did: the reference first, once; ratings that cannot be read stay
              in the means, as -1
  careful     both orders; ratings that cannot be read are asked for again, then left out and
              counted; 95 % intervals; by how much a judge favours what stands first

It writes scores.json and reviews.jsonl (every review in full) into OUT. Answers are kept in
OUT/cache: the same command goes on after a kill or a budget, and pays for nothing twice.

The last line of output is one JSON object, for scripts. Exit status: 0 done, 1 stopped early
(there is no score yet), 2 refused (the reason is on stderr).
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))
from _cli import Unfinished, make_parser, run_tool

from mmllava.io import write_json, write_json_lines
from mmllava.teacher import cli, judge
from mmllava.teacher.cache import Answer
from mmllava.teacher.client import Failure, Teacher

PRESETS = ('llava-2023', 'careful')
Reviews = dict[str, Answer]  # name of a review (judge.name_review) -> what the judge wrote


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    for name in ('questions', 'references', 'answers'):
        parser.add_argument(f'--{name}', type=Path, required=True, help='JSON lines')
    parser.add_argument('--context', type=Path, help='JSON lines: what is in each image')
    parser.add_argument('--bench', choices=judge.BENCHES, help='default: what --context looks like')
    parser.add_argument('--rules', type=Path, help="in the layout of LLaVA's rule.json")
    parser.add_argument(
        '--presets', nargs='+', choices=PRESETS, default=PRESETS, help='default: both'
    )
    parser.add_argument('--out', type=Path, required=True, help='folder to write into')
    parser.add_argument('--seed', type=int, default=0, help='of the intervals')
    cli.add_options(parser)
    return parser.parse_args(argv)


def review(
    items: list[judge.Item], rules: judge.Rules, orders: tuple[bool, ...], teacher: Teacher
) -> tuple[Reviews, Reviews]:
    """Asks for every review.

    Returns:
        the first answers, and the last: ``careful`` has those that cannot be read asked again.

    Raises:
        Unfinished: some have no answer; what there is, is in the cache.
    """
    todo = [(item, swapped) for item in items for swapped in orders]
    first: Reviews = {}
    last: Reviews = {}
    for attempt in range(judge.TRIES if len(orders) > 1 else 1):
        got = teacher.ask(judge.to_request(i, rules, swapped, attempt) for i, swapped in todo)
        answers = {name: said for name, said in got.items() if isinstance(said, Answer)}
        if len(answers) < len(todo):
            failed = [said.message for said in got.values() if isinstance(said, Failure)]
            reason = teacher.stopped or failed[0]
            raise Unfinished(f'{len(todo) - len(answers)} reviews of {len(todo)} missing: {reason}')
        first, last = first or answers, last | answers
        todo = [
            (item, swapped)
            for item, swapped in todo
            if judge.parse_careful(answers[judge.name_review(item, swapped)].text) is None
        ]
    return first, last


def score(
    items: list[judge.Item], first: Reviews, last: Reviews, args: argparse.Namespace
) -> dict[str, Any]:
    """preset -> category -> columns."""
    scores = {}
    if 'llava-2023' in args.presets:
        said = [first[judge.name_review(item, False)].text for item in items]
        rated = [(i.category, judge.parse_2023(text)) for i, text in zip(items, said, strict=True)]
        scores['llava-2023'] = judge.score_2023(rated)
    if 'careful' in args.presets:
        both = []
        for item in items:
            said = [last[judge.name_review(item, swapped)].text for swapped in (False, True)]
            both.append((item.category, *map(judge.parse_careful, said)))
        scores['careful'] = judge.score_careful(both, args.seed)
    return scores


def to_rows(items: list[judge.Item], first: Reviews, last: Reviews) -> Iterator[dict[str, Any]]:
    """Yields the records of reviews.jsonl."""
    for item in items:
        for swapped in (False, True):
            name = judge.name_review(item, swapped)
            if name not in last:
                continue
            row = dict(question_id=item.id, category=item.category, candidate_first=swapped)
            row['ratings'] = judge.parse_careful(last[name].text)
            row['review'] = last[name].text
            if first[name] != last[name]:
                row['first_review'] = first[name].text
            yield row


def tell(scores: dict[str, Any]) -> None:
    """Prints a table of each preset, and a bias if there is one."""
    for preset, columns in scores.items():
        print(f'{preset:<20}   score  95 % interval  reference  candidate  questions  unread')
        for category, column in columns.items():
            low, high = column.get('interval', ('', ''))
            interval = f'{low} to {high}' if 'interval' in column else ''
            unread = column['unread'] if 'unread' in column else column['excluded']
            cells = [column.get(name, '') for name in ('reference', 'candidate', 'questions')]
            found = column.get('score')
            print(
                f'  {category:<20} {"none" if found is None else found:>5} {interval:>14} '
                f'{cells[0]:>10} {cells[1]:>10} {cells[2]:>10} {unread:>7}'
            )
    bias = scores.get('careful', {}).get('all', {})
    low, high = bias.get('first_bias_interval', (0, 0))
    if low > 0 or high < 0:
        print(
            f'ORDER BIAS: an answer is rated {bias["first_bias"]:+} for standing first (95 % {low} '
            f'to {high}). llava-2023 does not see it: the reference always stands first there.'
        )


def run(args: argparse.Namespace) -> tuple[int, dict[str, Any]]:
    bench = args.bench or judge.guess_bench(args.context)
    items = judge.read_items(args.questions, args.references, args.answers, args.context, bench)
    rules = judge.read_rules(bench, args.rules)
    teacher = cli.open_teacher(args, args.out / 'cache')
    orders = (False, True) if 'careful' in args.presets else (False,)
    if args.dry_run:
        asked = [judge.to_request(item, rules, swapped) for item in items for swapped in orders]
        cli.print_first(asked)
        return 0, cli.estimate(asked, teacher)
    said = {n: str(getattr(args, n).absolute()) for n in ('questions', 'references', 'answers')}
    run = said | dict(bench=bench, rules=rules.digest(), model=teacher.endpoint.model)
    cli.claim(args.out, 'judge', run, ('scores.json', 'reviews.jsonl'))
    try:
        first, last = review(items, rules, orders, teacher)
    except Unfinished as error:
        print(f'judge: {error}', file=sys.stderr)
        return 1, dict(scores=None, judge=cli.spent(teacher))
    scores = score(items, first, last, args)
    result = dict(
        scores=scores,
        judge=cli.spent(teacher),
        bench=bench,
        rules=str(args.rules or 'our own'),
        rules_digest=rules.digest(),
        files={n: str(getattr(args, n)) for n in ('questions', 'references', 'answers')},
    )
    write_json_lines(args.out / 'reviews.jsonl', to_rows(items, first, last))
    write_json(args.out / 'scores.json', result)
    tell(scores)
    return 0, {p: c['all'] for p, c in scores.items()} | dict(judge=result['judge'])


def main(argv: list[str] | None = None) -> int:
    return run_tool(
        __file__,
        parse_args,
        run,
        argv,
        stopped='interrupted; what was answered is kept, and the same command goes on.',
    )


if __name__ == '__main__':
    sys.exit(main())
