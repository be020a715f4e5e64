#!/usr/bin/env python
"""Times the teacher's client: many requests to a server on this machine that takes its time.

  python tools/benchmark/teacher.py                 # 5,000 requests, 64 at a time, 200 ms each

The server (tools/dev/teacher_server.py) is a process of its own. Every answer goes through the
cache, as in a real run. The best possible is concurrency / delay. Memory is this process's, in
MB, at each tenth of the run. Rows: tools/benchmark/results/teacher.jsonl.
The last line of output is the row. Exit status: 0 done, 2 a request failed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / 'results/teacher.jsonl'
sys.path.insert(0, str(ROOT))
sys.path.append(str(Path(__file__).parents[1]))
from _cli import make_parser, run_tool  # noqa: E402

from mmllava.io import provenance  # noqa: E402
from mmllava.teacher.client import Teacher  # noqa: E402
from mmllava.teacher.endpoint import Endpoint, Request  # noqa: E402
from mmllava.teacher.image_context import ImageContext  # noqa: E402
from mmllava.teacher.prompts import read_recipe  # noqa: E402


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('--requests', type=int, default=5000)
    parser.add_argument('--concurrency', type=int, default=64)
    parser.add_argument('--delay-s', type=float, default=0.2)
    parser.add_argument('--out', type=Path, default=RESULTS, help='file to append the row to')
    return parser.parse_args(argv)


def resident_mb() -> float:
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return round(pages * os.sysconf('SC_PAGE_SIZE') / 1e6, 1)


def measure(url: str, args: argparse.Namespace) -> dict:
    """Asks for descriptions of invented images."""
    recipe = read_recipe('detail')

    def requests():
        for n in range(args.requests):
            boxes = ((f'thing {n}', (0.1, 0.2, 0.3, 0.4)),) * 8
            yield recipe.request(ImageContext(str(n), '', (f'Image {n}.',) * 5, boxes), 512, 0.0)

    memory, done = [], 0

    def receive(request: Request, result: object) -> None:
        nonlocal done
        done += 1
        if done % (args.requests // 10) == 0:
            memory.append(resident_mb())

    with tempfile.TemporaryDirectory() as cache:
        endpoint = Endpoint(url, 'reference', concurrency=args.concurrency)
        teacher = Teacher(endpoint, Path(cache))
        start, cpu = time.perf_counter(), time.process_time()
        teacher.ask_all(requests(), receive)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    if teacher.counts['answered'] != args.requests:
        raise RuntimeError(f'{teacher.counts} {teacher.stopped}')
    return dict(
        seconds=round(seconds, 2),
        per_second=round(args.requests / seconds, 1),
        cpu_seconds=round(cpu, 2),
        memory_mb=memory,
    )


def run(args: argparse.Namespace) -> int | dict:
    command = [sys.executable, ROOT / 'tools/dev/teacher_server.py', '--delay-s', str(args.delay_s)]
    made = provenance('openai')  # before a row makes the tree another
    load = round(os.getloadavg()[0], 1)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = server.stdout.readline().split()[-1]
            measured = measure(url, args)
        except RuntimeError as error:
            print(f'teacher: {error}', file=sys.stderr)
            return 2
        finally:
            server.terminate()
            server.communicate()
    row = dict(
        **made,
        date=time.strftime('%Y-%m-%d'),
        load_before=load,
        requests=args.requests,
        concurrency=args.concurrency,
        delay_s=args.delay_s,
        best_per_second=args.concurrency / args.delay_s,
        **measured,
    )
    with args.out.open('a', encoding='utf-8') as file:
        file.write(json.dumps(row) + '\n')
    return row


def main(argv: list[str] | None = None) -> int:
    return run_tool(__file__, parse_args, run, argv)


if __name__ == '__main__':
    sys.exit(main())
