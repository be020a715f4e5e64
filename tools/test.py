#!/usr/bin/env python
"""Scores a model on the test set of a config.

  python tools/test.py configs/llava/llava-7b-v1.5_caption.py CHECKPOINT

  # a benchmark with any model; without --model, what the folder says it is
  python tools/test.py configs/benchmarks/pope.py CHECKPOINT --model llava-7b-v1.5

CHECKPOINT is a .pth or .safetensors file, a folder, or a hub id. Predictions
are appended to the work folder as they come: a run that was stopped goes on
where it was when the same command is given again.

The flags are those of mmpretrain's tools/test.py. The last line of output is one
JSON object with the scores. Exit status: 0 done, 2 refused (the reason is on stderr).
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))
from _cli import (
    add_cfg_options,
    make_parser,
    merge_options,
    parse_cfg_options,
    read_config,
    run_tool,
)

from mmllava.checkpoints.storage.hub import is_hub_id, is_local
from mmllava.errors import CheckpointError, ConfigError
from mmllava.io import atomic_path


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='weight file, folder, or hub id')
    parser.add_argument(
        '--model', help='for configs/benchmarks: llava-7b-v1.5 and the like, or a config file'
    )
    parser.add_argument(
        '--tower', help="without --model: CLIP's folder, where the checkpoint has none inside"
    )
    parser.add_argument(
        '--work-dir', help='default: work_dirs/NAME_OF_CONFIG, of a benchmark also /MODEL'
    )
    parser.add_argument('--out', help='also write results here: .pkl, .json or .yaml')
    parser.add_argument('--out-item', choices=['metrics', 'pred'], help='what --out holds: pred')
    add_cfg_options(parser)
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    parser.add_argument('--show', action='store_true', help='open each image with its text')
    parser.add_argument('--show-dir', help='save each image with its text here')
    parser.add_argument('--interval', type=int, default=1, help='draw every N-th image')
    parser.add_argument('--no-pin-memory', action='store_true', help='for the data loader')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='job launcher',
    )
    # torch.distributed.launch passes it; torchrun sets the variable instead.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args(argv)
    if args.out_item and not args.out:
        parser.error('--out-item says what --out holds; give --out FILE too')
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def load_config(args: argparse.Namespace) -> Any:
    """Loads the config, with the command line's changes."""
    import torch

    from mmllava.evaluation.benchmark_config import add_model, is_benchmark, name_run

    cfg = read_config(args.config, args.cfg_options, 'configs/llava/README.md')
    if not (is_local(args.checkpoint) or is_hub_id(args.checkpoint)):
        raise CheckpointError(
            f'{args.checkpoint} does not exist; expected weights. Check the path.'
        )
    if args.model or args.tower or is_benchmark(cfg):
        add_model(cfg, args.model, args.checkpoint, args.tower)
        # Again, now that there is a model to change.
        merge_options(cfg, parse_cfg_options(args.cfg_options))
    cfg.default_scope = 'mmllava'  # a bare COCOCaption is our metric, without Java
    cfg.launcher = args.launcher
    folder = f'work_dirs/{Path(args.config).stem}'
    name = name_run(args.model, args.checkpoint)
    if is_benchmark(cfg):
        folder += f'/{name}'
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or folder
    if is_benchmark(cfg):
        cfg.test_evaluator.setdefault('out_dir', cfg.work_dir)
        cfg.test_evaluator.setdefault('model_id', name)
    cfg.load_from, cfg.resume = None, False  # the model loads its weights itself, safely
    cfg.model.init_cfg = dict(type='Pretrained', checkpoint=args.checkpoint)
    if not cfg.get('test_dataloader') or not cfg.get('test_evaluator'):
        raise ConfigError(f'{args.config} has no test_dataloader and test_evaluator to run.')
    cfg.test_cfg = dict(dict(type='mmllava.ResumableTestLoop'), **(cfg.get('test_cfg') or {}))
    if args.amp:
        cfg.test_cfg.fp16 = True
    if args.show or args.show_dir:
        hook = dict(
            type='mmllava.DrawPredictionsHook',
            folder=args.show_dir,
            show=args.show,
            interval=args.interval,
        )
        cfg.custom_hooks = [*cfg.get('custom_hooks', []), hook]
    pin = torch.cuda.is_available() and not args.no_pin_memory
    cfg.test_dataloader.setdefault('pin_memory', pin)
    if not cfg.test_dataloader.get('num_workers'):
        cfg.test_dataloader.persistent_workers = False  # torch refuses it without workers
    return cfg


def prepare_processes(cfg: Any) -> None:
    """Prepares for several processes: one whole model each, over gloo where there is no GPU."""
    import torch

    if cfg.launcher == 'none':
        return
    # By its path: the runner looks this one up in mmengine's registry, not in ours.
    cfg.model_wrapper_cfg = dict(type='mmllava.evaluation.test_loop.ReplicatedModel')
    if not torch.cuda.is_available():
        # mmengine's own start-up sets a CUDA device unasked.
        torch.distributed.init_process_group('gloo')


def dump(value: Any, file: str) -> None:
    """Writes --out whole or not at all, in the format that its name ends in."""
    import mmengine

    with atomic_path(file) as part:
        mmengine.dump(value, part, file_format=Path(file).suffix[1:])


def run(args: argparse.Namespace) -> dict[str, Any] | None:
    import mmllava  # noqa: F401  before mmpretrain: it mends what new transformers broke

    cfg = load_config(args)
    prepare_processes(cfg)
    from mmengine.runner import Runner

    runner = Runner.from_cfg(cfg)
    try:
        metrics = runner.test()
    finally:  # a metric that fails loses no prediction
        records = getattr(runner.test_loop, 'records', [])
        if args.out and args.out_item != 'metrics' and records and runner.rank == 0:
            dump(records, args.out)
    if runner.rank != 0:
        return None
    if args.out and args.out_item == 'metrics':
        dump(metrics, args.out)
    return metrics


def main(argv: list[str] | None = None) -> int:
    return run_tool(
        __file__, parse_args, run, argv, stopped='stopped; the same command goes on from here'
    )


if __name__ == '__main__':
    sys.exit(main())
