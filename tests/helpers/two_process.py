"""Runs tools/train.py for several configs in the same two processes: starting them takes long."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_two(*commands):
    """Each command is a list of arguments of tools/train.py; over gloo."""
    starter = [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2']
    starter += ['--master_port=0', '--rdzv_backend=c10d', '--rdzv_endpoint=localhost:0']
    environment = dict(
        os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES=''
    )
    done = subprocess.run(
        [*starter, __file__, json.dumps([list(map(str, c)) for c in commands])],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-5000:]


if __name__ == '__main__':
    sys.path.insert(0, str(ROOT / 'tools'))
    import torch
    import train

    torch.set_num_threads(1)
    for command in json.loads(sys.argv[1]):
        if status := train.main([*command, '--launcher', 'pytorch']):
            sys.exit(status)
