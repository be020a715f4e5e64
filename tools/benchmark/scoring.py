#!/usr/bin/env python
"""Times the scoring of a whole set on one core: COCO captions and VQAv2 answers, made up here.

  python tools/benchmark/scoring.py                                  # appends two rows
  python tools/benchmark/scoring.py --captions 50 --answers 100 --out rows.jsonl

40,504 images with 5 references each, and 200,000 questions with 10 answers each, in the
files of COCO and VQAv2. Each is scored by tools/analysis_tools/score_answers.py
in a process of its own, start and reading included, bound to one core. Rows:
tools/benchmark/results/scoring.jsonl. The last
line of output is the last row. Exit status: 0 done, 2 the scoring failed.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from _cli import make_parser, run_tool

from mmllava.io import provenance

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / 'results' / 'scoring.jsonl'
WORDS = 'a the man woman two dogs red bus train sits stands near park street table with of on and'
ANSWERS = ('yes', 'no', '2', 'two', 'red', 'blue', 'a dog', 'tennis', "it's on", 'left', 'U.S.')


def sentence(draw: random.Random) -> str:
    return ' '.join(draw.choices(WORDS.split(), k=draw.randint(8, 13))).capitalize() + '.'


def make_captions(root: Path, count: int) -> tuple[str, Path]:
    """Writes COCO's val2014 file and captions for it."""
    draw = random.Random(0)
    images = [dict(id=n, file_name=f'COCO_val2014_{n:012d}.jpg') for n in range(count)]
    notes = [dict(image_id=n, caption=sentence(draw)) for n in range(count) for _ in range(5)]
    (root / 'annotations').mkdir(exist_ok=True)
    file = root / 'annotations/captions_val2014.json'
    file.write_text(json.dumps(dict(images=images, annotations=notes)))
    said = root / 'captions.json'
    rows = [dict(image_id=n, caption=sentence(draw)) for n in range(count)]
    said.write_text(json.dumps(rows))
    return 'coco_val2014', said


def make_answers(root: Path, count: int) -> tuple[str, Path]:
    """Writes VQAv2's two files of val2014 and answers to them."""
    draw = random.Random(0)
    folder = root / 'annotations'
    folder.mkdir(exist_ok=True)
    ids = [dict(question_id=n, image_id=n // 5) for n in range(count)]
    questions = [dict(row, question='What is on the table?') for row in ids]
    notes = [
        dict(
            row,
            question_type='what is',
            answer_type=draw.choice(('yes/no', 'number', 'other')),
            answers=[
                dict(answer=draw.choice(ANSWERS), answer_id=k, answer_confidence='yes')
                for k in range(10)
            ],
        )
        for row in ids
    ]
    name = 'v2_OpenEnded_mscoco_val2014_questions.json'
    (folder / name).write_text(json.dumps(dict(questions=questions)))
    name = 'v2_mscoco_val2014_annotations.json'
    (folder / name).write_text(json.dumps(dict(annotations=notes)))
    said = root / 'answers.json'
    rows = [dict(question_id=n, answer=draw.choice(ANSWERS)) for n in range(count)]
    said.write_text(json.dumps(rows))
    return 'vqav2_val', said


def measure(root: Path, config: str, answers: Path) -> dict:
    """Scores in a process on one core; wall seconds, its peak MB, and what it said."""
    core = min(os.sched_getaffinity(0))
    command = [sys.executable, str(ROOT / 'tools/analysis_tools/score_answers.py')]
    command += [str(ROOT / f'configs/benchmarks/{config}.py'), str(answers)]
    command += ['--cfg-options', f'test_dataloader.dataset.data_root={root}']
    start = time.perf_counter()
    with open(root / 'said.txt', 'w+') as said:
        process = subprocess.Popen(
            command,
            cwd=root,
            env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
            stdout=said,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        said.seek(0)
        lines = said.read().splitlines()
    if status:
        raise RuntimeError(f'the scoring of {config} ended with status {status}')
    return dict(
        seconds=round(seconds, 1),
        cpu_seconds=round(usage.ru_utime + usage.ru_stime, 1),
        peak_mb=round(usage.ru_maxrss * 1024 / 1e6, 1),
        scores=json.loads(lines[-1]),
    )


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('--captions', type=int, default=40504, help='images')
    parser.add_argument('--answers', type=int, default=200000, help='questions')
    parser.add_argument('--out', type=Path, default=RESULTS, help='file to append rows to')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    about = dict(provenance(), cores=1)
    for make, count in ((make_captions, args.captions), (make_answers, args.answers)):
        with tempfile.TemporaryDirectory() as scratch:
            config, answers = make(Path(scratch), count)
            try:
                row = dict(about, config=config, count=count)
                row |= measure(Path(scratch), config, answers)
            except RuntimeError as error:
                print(f'scoring: {error}', file=sys.stderr)
                return 2
        with open(args.out, 'a', encoding='utf-8') as file:
            file.write(json.dumps(row) + '\n')
        print(json.dumps(row))
    return 0


def main(argv: list[str] | None = None) -> int:
    return run_tool(__file__, parse_args, run, argv)


if __name__ == '__main__':
    sys.exit(main())
