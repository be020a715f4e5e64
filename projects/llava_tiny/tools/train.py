#!/usr/bin/env python
"""Trains llava-tiny from nothing: data, three stages of tools/train.py, one folder of float16.

  make tiny                                 # or: python projects/llava_tiny/tools/train.py
  python projects/llava_tiny/tools/evaluate.py --checkpoint work_dirs/llava-tiny --no-row

Two processes, one on each core: an hour and a quarter. What was stopped goes on with the same
command. The result is work_dirs/llava-tiny, with the log of all stages, log.jsonl, and its
image, log.png; the folder in the package came about in this way.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
STAGES = tuple(f'llava-tiny_{name}' for name in ('tower', 'align', 'talk'))
RESULT = Path('work_dirs/llava-tiny')
#: one thread for each process; memory that was freed is kept, not given back at every step
QUICK = dict(
    OMP_NUM_THREADS='1', MALLOC_MMAP_THRESHOLD_='1073741824', MALLOC_TRIM_THRESHOLD_='2147483648'
)
#: what is kept of each line of a log
LOGGED = ('step', 'loss', 'lr', 'grad_norm', 'samples_per_s', 'tokens_per_s', 'time')


def run(*command: str) -> None:
    """Runs one step with this Python, in the repository; ends the program if it fails."""
    print('$ python ' + ' '.join(command), flush=True)
    environment = dict(os.environ, PYTHONPATH=str(ROOT), **QUICK)
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=environment)
    if done.returncode:
        sys.exit(f'train: {command[0]} failed. The same command goes on from here.')


def train(stage: str) -> None:
    """Runs one stage, resumed from its last checkpoint if it has one."""
    resume = ['--resume'] if any((ROOT / 'work_dirs' / stage).glob('iter_*')) else []
    processes = ('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2')
    tool = ('tools/train.py', f'projects/llava_tiny/configs/{stage}.py', '--launcher', 'pytorch')
    run(*processes, *tool, *resume)


def last_checkpoint(stage: str) -> Path:
    """Returns the checkpoint of the most steps, relative to the repository."""
    found = (ROOT / 'work_dirs' / stage).glob('iter_*')
    return max(found, key=lambda path: int(path.name[5:])).relative_to(ROOT)


def keep_log() -> None:
    """Writes the logs of all stages to one file, a line for each logged step."""
    lines = []
    for stage in STAGES:
        for file in sorted((ROOT / 'work_dirs' / stage).glob('*/vis_data/scalars.json')):
            for line in file.read_text(encoding='utf-8').splitlines():
                values = json.loads(line)
                kept = {name: round(values[name], 6) for name in LOGGED if name in values}
                lines.append(json.dumps(dict(stage=stage, **kept)) + '\n')
    (ROOT / RESULT / 'log.jsonl').write_text(''.join(lines), encoding='utf-8')
    folders = [f'work_dirs/{stage}' for stage in STAGES]
    run('tools/analysis_tools/plot_log.py', *folders, '--out', str(RESULT / 'log.png'))


def main() -> int:
    if not (ROOT / 'data/tiny/test_answers.json').is_file():
        run('projects/llava_tiny/tools/make_data.py', 'data/tiny')
    for stage in STAGES:
        train(stage)
    if (ROOT / RESULT).is_dir():
        shutil.rmtree(ROOT / RESULT)
    source = str(last_checkpoint(STAGES[-1]))
    options = ('--to', 'original', '--dtype', 'float16', '--out', str(RESULT))
    run('tools/convert.py', source, *options)
    keep_log()
    print(f'{RESULT}: try mmllava.load({str(RESULT)!r}), or projects/llava_tiny/tools/evaluate.py')
    return 0


if __name__ == '__main__':
    sys.exit(main())
