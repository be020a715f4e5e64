#!/usr/bin/env python
"""Scores ScienceQA answered by a model and a text-only teacher together.

  # from stored answers, nothing is asked
  python tools/misc/scienceqa_ensemble.py data/scienceqa --answers llava.json \\
      --teacher-answers gpt4.json --judge-answers judge.json --offline --out sqa/

  # what is not given is asked of the teacher, and stored in OUT
  python tools/misc/scienceqa_ensemble.py data/scienceqa --answers llava.json --out sqa/ \\
      --base-url https://api.openai.com/v1 --model MODEL

The folder holds problems.json and pid_splits.json. Answers are a result file of tools/test.py
or of LLaVA's scripts ({"outputs": {id: text}}), or JSON lines of question_id and text.

It prints the accuracy, all and by class, of the model, of the teacher, of both ensembles and of
the better answer to each question (the upper bound), and writes scores.json, teacher.json and
judge.json into OUT. The last line of output is one JSON object, for scripts.
Exit status: 0 done, 1 stopped early (no score yet; the same command goes on), 2 refused.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))
from _cli import Unfinished, make_parser, run_tool

from mmllava.errors import ConfigError, DataError, unknown_name
from mmllava.io import read_json, write_json, write_text
from mmllava.metrics.multiple_choice import scienceqa_choice, scienceqa_letter
from mmllava.teacher import cli, scienceqa_ensemble
from mmllava.teacher.cache import Answer
from mmllava.teacher.client import Failure, Teacher
from mmllava.teacher.endpoint import Request

FILES = ('scores.json', 'teacher.json', 'judge.json')
Texts = dict[str, str]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('folder', type=Path, help='with problems.json and pid_splits.json')
    parser.add_argument('--split', default='test', help='default: %(default)s')
    parser.add_argument('--answers', type=Path, required=True, help="the model's")
    parser.add_argument('--teacher-answers', type=Path, help="default: asked; the teacher's own")
    parser.add_argument('--judge-answers', type=Path, help="default: asked; the judge's")
    parser.add_argument('--offline', action='store_true', help='ask nothing; score what is given')
    parser.add_argument('--num-shots', type=int, default=2, help='examples, from the train split')
    parser.add_argument('--seed', type=int, default=0, help='of the choice of examples')
    parser.add_argument('--out', type=Path, required=True, help='folder to write into')
    cli.add_options(parser)
    return parser.parse_args(argv)


def draw_examples(args: argparse.Namespace) -> list[tuple[str, str]]:
    """Draws questions and answers of the train split."""
    from mmllava.datasets.scienceqa import write_problem

    problems = read_json(args.folder / 'problems.json')
    splits = read_json(args.folder / 'pid_splits.json')
    if 'train' not in splits:
        raise unknown_name('split of ScienceQA', 'train', splits)
    if not 0 <= args.num_shots <= len(splits['train']):
        raise ConfigError(
            f'--num-shots is {args.num_shots}, expected 0 to {len(splits["train"])}, the '
            'problems of the train split.'
        )
    chosen = random.Random(args.seed).sample(splits['train'], args.num_shots)
    missing = [id_ for id_ in chosen if str(id_) not in problems]
    if missing:
        raise DataError(
            f'{args.folder}/pid_splits.json names problem {missing[0]}, which problems.json does '
            'not have. Are both of one release?'
        )
    return [write_problem(problems[str(id_)], 'QCM-LEA') for id_ in chosen]


def ask(teacher: Teacher, requests: Iterable[Request]) -> Texts:
    """Asks the teacher; returns answers by problem.

    Raises:
        Unfinished: some have none.
    """
    todo = list(requests)
    got = teacher.ask(todo)
    failed = [said for said in got.values() if isinstance(said, Failure)]
    if len(got) < len(todo) or failed:
        missing = len(todo) - len(got) + len(failed)
        reason = teacher.stopped or failed[0].message
        raise Unfinished(f'{missing} answers of {len(todo)} missing: {reason}')
    texts = {n: said.text for n, said in got.items() if isinstance(said, Answer)}
    return {
        name.removesuffix(f'/{scienceqa_ensemble.JUDGED}'): text for name, text in texts.items()
    }


def combine(
    items: list[Any], ours: Texts, theirs: Texts | None, judged: Texts | None
) -> dict[str, Any]:
    """name -> accuracy by class."""
    from mmllava.benchmarks.scienceqa import score_scienceqa

    ids, by_id = [item.id for item in items], {item.id: item for item in items}

    def is_right(id_: str, text: str | None) -> bool:
        item = by_id[id_]
        return text is not None and scienceqa_choice(text, item.choices) == item.truth

    answers: dict[str, list[str | None]] = {'model': [ours.get(id_) for id_ in ids]}
    if theirs is not None:
        answers['teacher'] = [theirs.get(id_) for id_ in ids]
        answers['complement'] = scienceqa_ensemble.complement(ids, ours, theirs, scienceqa_letter)
    if judged is not None:
        answers['judge'] = scienceqa_ensemble.complement(ids, ours, judged, scienceqa_letter)
    if theirs is not None:
        answers['upper bound'] = scienceqa_ensemble.best_of(ids, ours, theirs, is_right)
    return {name: score_scienceqa(items, texts) for name, texts in answers.items()}


def tell(scores: dict[str, Any]) -> None:
    names = list(scores['model'])
    print(f'{"":12}' + ''.join(f'{name:>9}' for name in names))
    for name, row in scores.items():
        print(f'{name:12}' + ''.join(f'{row[column]:9.2f}' for column in names))


def check(file: Path, texts: Texts, items: list[Any], split: str) -> None:
    if not any(item.id in texts for item in items):
        raise ConfigError(f'{file} answers no problem of the split {split}.')


def gather(args: argparse.Namespace, items: list[Any], ours: Texts) -> tuple[Any, Any, Any]:
    """Returns the teacher's answers, the judge's, and the teacher if one was asked.

    With --dry-run the next requests are shown, and nothing is asked.
    """

    def ask_or_show(requests: list[Request], file: str) -> Texts | None:
        if args.dry_run:
            cli.print_first(requests[:1])
            print(json.dumps(cli.estimate(requests, teacher)))
            return None
        texts = ask(teacher, requests)
        write_text(args.out / file, scienceqa_ensemble.write_outputs(texts))
        return texts

    given = (args.teacher_answers, args.judge_answers)
    theirs, judged = (scienceqa_ensemble.read_outputs(file) if file else None for file in given)
    if theirs is not None:
        check(args.teacher_answers, theirs, items, args.split)
    asks = not args.offline and (theirs is None or judged is None)
    teacher = cli.open_teacher(args, args.out / 'cache') if asks else None
    if not args.dry_run:
        paths = {name: str(getattr(args, name).absolute()) for name in ('folder', 'answers')}
        asked = dict(model=teacher.endpoint.model) if teacher else {}
        cli.claim(args.out, 'scienceqa_ensemble', paths | dict(split=args.split) | asked, FILES)
    if teacher is None:
        return theirs, judged, None
    questions = {item.id: item.fields['qcm'] for item in items}
    if theirs is None:
        examples = draw_examples(args)
        requests = [scienceqa_ensemble.ask_answer(id_, q, examples) for id_, q in questions.items()]
        theirs = ask_or_show(requests, 'teacher.json')
    if judged is None and theirs is not None:
        ids = scienceqa_ensemble.disagreements(list(questions), ours, theirs, scienceqa_letter)
        pairs = [(id_, ours.get(id_, ''), theirs.get(id_, '')) for id_ in ids]
        requests = [scienceqa_ensemble.ask_judgement(i, questions[i], a, b) for i, a, b in pairs]
        judged = ask_or_show(requests, 'judge.json')
    return theirs, judged, teacher


def run(args: argparse.Namespace) -> dict[str, float] | None:
    from mmllava.benchmarks.scienceqa import read_scienceqa

    files = (args.folder / 'problems.json', args.folder / 'pid_splits.json')
    items = read_scienceqa(*files, args.folder / 'images' / args.split, split=args.split)
    ours = scienceqa_ensemble.read_outputs(args.answers)
    check(args.answers, ours, items, args.split)
    theirs, judged, teacher = gather(args, items, ours)
    if args.dry_run:
        return None
    scores = combine(items, ours, theirs, judged)
    result: dict[str, Any] = dict(scores=scores, count=len(items))
    if teacher:
        result['teacher'] = cli.spent(teacher)
    write_json(args.out / 'scores.json', result)
    tell(scores)
    return {name: row['accuracy'] for name, row in scores.items()}


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
