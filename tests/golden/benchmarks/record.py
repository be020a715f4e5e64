#!/usr/bin/env python
"""Records what lmms-eval's scorers give on answers that we made up.

  pip install --no-deps --target /tmp/lmms lmms-eval==0.7.3
  python tests/golden/benchmarks/record.py /tmp/lmms

Its task files are run by path: what they import beside the scorers is not needed.
"""

import importlib.util
import json
import random
import sys
import types
from pathlib import Path

WORDS = (
    "it's a an the two ten none dont Dont cant 1,000 2.5 3. . , ? ! 's yes-no (x) U.S. a.b.c isn't "
    "whats 10:30 somebody'd Im he'dve Two cat dog Yes no / \\ @ _ red-blue $5 it's."
)
YES_NO = ('Yes', 'No', 'yes', 'no', 'Yes.', 'No.')


def load(file: Path, name: str) -> types.ModuleType:
    """A file as a module of that name."""
    spec = importlib.util.spec_from_file_location(name, file)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def task(root: Path, name: str) -> types.ModuleType:
    """A task's file; what it imports beside the scorers stands empty."""
    tasks = root / 'lmms_eval/tasks'
    utils = 'lmms_eval.tasks._task_utils'
    for stub in ('loguru', 'lmms_eval', 'lmms_eval.tasks', utils, f'{utils}.file_utils'):
        sys.modules.setdefault(stub, types.ModuleType(stub))
    sys.modules['lmms_eval'].tasks = sys.modules['lmms_eval.tasks']
    sys.modules['lmms_eval.tasks']._task_utils = sys.modules[utils]
    sys.modules[utils].file_utils = sys.modules[f'{utils}.file_utils']
    sys.modules[f'{utils}.file_utils'].generate_submission_file = None
    sys.modules['loguru'].logger = types.SimpleNamespace(info=print)
    load(tasks / '_task_utils/vqa_eval_metric.py', f'{utils}.vqa_eval_metric')
    return load(tasks / name / 'utils.py', f'recorded_{name}')


def sentence(draw: random.Random) -> str:
    return ' '.join(draw.choice(WORDS.split()) for _ in range(draw.randint(0, 4)))


def vqa(root: Path, draw: random.Random) -> list[dict]:
    """Answers against ten others, by TextVQA's way and by VQAv2's."""
    own, other = task(root, 'textvqa'), task(root, 'vqav2')
    process = own.EvalAIAnswerProcessor()
    rows = []
    for _ in range(300):
        pool = [sentence(draw) for _ in range(draw.randint(1, 4))]
        truths, answer = (
            [draw.choice(pool) for _ in range(10)],
            draw.choice([*pool, sentence(draw)]),
        )
        doc = dict(answers=list(truths), question_id=0)
        textvqa = own.textvqa_process_results(doc, [answer])['exact_match']
        doc = dict(answers=[dict(answer=a, n=n) for n, a in enumerate(truths)], question_id=0)
        vqav2 = other.vqav2_process_results(doc, [answer])['exact_match']
        written = process(answer)
        rows.append(
            dict(answer=answer, truths=truths, written=written, textvqa=textvqa, vqav2=vqav2)
        )
    return rows


def pope(root: Path, draw: random.Random) -> dict:
    """Answers that are yes or no, and the counts."""
    own = task(root, 'pope')
    pairs = [(draw.choice(YES_NO[:4]), draw.choice(('yes', 'no'))) for _ in range(200)]
    docs = [dict(answer=truth, question_id=n) for n, (_, truth) in enumerate(pairs)]
    found = [
        own.pope_process_results(doc, [answer])['pope_accuracy']
        for doc, (answer, _) in zip(docs, pairs, strict=True)
    ]
    names = {'accuracy': 'accuracy', 'precision': 'precision', 'recall': 'recall', 'F1': 'f1_score'}
    return dict(
        pairs=pairs,
        scores={
            ours: getattr(own, f'pope_aggregate_{theirs}')(found) for ours, theirs in names.items()
        },
    )


def mme(root: Path, draw: random.Random) -> dict:
    """Two answers to each image of each task."""
    own = task(root, 'mme')
    tasks = [t for group in own.eval_type_dict.values() for t in group]
    rows = [
        (name, picture, truth, draw.choice((*YES_NO, 'Yes, it is.', 'It is not', 'Nope')))
        for name in tasks
        for picture in range(6)
        for truth in ('yes', 'no')
    ]
    totals: dict[str, list] = {}
    for name, picture, truth, answer in rows:
        doc = dict(answer=truth, category=name, question_id=picture)
        for key, value in own.mme_process_results(doc, [answer]).items():
            totals.setdefault(key, []).append(value)
    return dict(
        rows=rows,
        perception=own.mme_aggregate_results(totals['mme_perception_score']),
        cognition=own.mme_aggregate_results(totals['mme_cognition_score']),
    )


def main() -> None:
    root, draw = Path(sys.argv[1]), random.Random(7)
    found = dict(
        source='lmms-eval 0.7.3, by tests/golden/benchmarks/record.py',
        vqa=vqa(root, draw),
        pope=pope(root, draw),
        mme=mme(root, draw),
    )
    Path(__file__).with_name('lmms_eval.json').write_text(json.dumps(found) + '\n')


if __name__ == '__main__':
    main()
