#!/usr/bin/env python
"""Trains a model as a config says.

  python tools/train.py configs/train/llava-7b-v1.5_pretrain.py

Checkpoints and logs go to the work folder. A run that was stopped, by a kill too,
goes on from its latest checkpoint with --resume. On several GPUs:

  torchrun --nproc_per_node 8 tools/train.py CONFIG --launcher pytorch

The last line of output is one JSON object. Exit status: 0 done, 2 refused (the reason is
on stderr), 130 stopped.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))
from _cli import add_cfg_options, make_parser, read_config, run_tool

from mmllava.errors import ConfigError


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='default: work_dirs/NAME_OF_CONFIG')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from the latest checkpoint of the work folder, or from this one',
    )
    add_cfg_options(parser)
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='job launcher',
    )
    # torch.distributed.launch passes it; torchrun sets the variable instead.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args(argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def load_config(args: argparse.Namespace) -> Any:
    """Loads the config, with the command line's changes."""
    cfg = read_config(args.config, args.cfg_options, 'configs/train/README.md')
    missing = [k for k in ('train_dataloader', 'train_cfg', 'optim_wrapper') if not cfg.get(k)]
    if missing:
        raise ConfigError(
            f'{args.config} has no {", ".join(missing)}, so it cannot be trained. '
            'configs/train/README.md lists those that can.'
        )
    val = ('val_dataloader', 'val_evaluator', 'val_cfg')
    given = [key for key in val if cfg.get(key) is not None]
    if given and len(given) < len(val):
        raise ConfigError(
            f'{args.config} has {", ".join(given)} alone; a val loop takes {", ".join(val)}. Add '
            'what is missing (docs/training.md), or leave all out.'
        )
    for key in ('train_dataloader', 'val_dataloader'):
        if cfg.get(key) is not None and not cfg[key].get('num_workers'):
            cfg[key].persistent_workers = False  # torch refuses it without workers
    for key in ('test_dataloader', 'test_evaluator', 'test_cfg'):
        cfg.pop(key, None)  # of a config that can be tested too; the runner would want all three
    cfg.default_scope = 'mmllava'
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or f'work_dirs/{Path(args.config).stem}'
    cfg.resume = args.resume is not None
    if args.resume == 'auto' and cfg.get('load_from') is not None:
        raise ConfigError(
            f'load_from={cfg.load_from!r} in {args.config} and --resume, which goes on from the '
            'latest checkpoint of the work folder. Leave load_from out, or name it: --resume '
            f'{cfg.load_from}.'
        )
    if args.resume not in (None, 'auto'):
        cfg.load_from = args.resume
    return cfg


def run(args: argparse.Namespace) -> dict[str, Any] | None:
    import mmllava  # noqa: F401  before mmpretrain: it mends what new transformers broke

    cfg = load_config(args)
    from mmllava.training import checkpoint
    from mmllava.training.distributed import prepare_processes
    from mmllava.training.runner import TrainRunner

    prepare_processes(cfg)
    runner = TrainRunner.from_cfg(cfg)
    runner.train()
    if runner.rank != 0:
        return None
    last = checkpoint.find_latest(runner.work_dir)
    return dict(steps=runner.iter, checkpoint=last and str(last))


def main(argv: list[str] | None = None) -> int:
    return run_tool(
        __file__, parse_args, run, argv, stopped='stopped; the same command with --resume goes on'
    )


if __name__ == '__main__':
    sys.exit(main())
