#!/usr/bin/env python
"""Draws a training run: loss, rate, tokens/s and padding over its steps, as a PNG.

  python tools/analysis_tools/plot_log.py work_dirs/llava-7b-v1.5_pretrain

Reads what the run's own log holds (vis_data/scalars.json); where a run was stopped and went
on, what came last of a step. Several runs are drawn over each other. The last line of output
is one JSON object. Exit status: 0 done, 2 refused (the reason is on stderr).
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))
from _cli import make_parser, run_tool

from mmllava.errors import DataError

#: what is drawn, and what its axis says
PANELS = {
    'loss': 'loss, nats a token',
    'lr': 'rate',
    'tokens_per_s': 'tokens/s',
    'padding': 'padding, share of positions',
}
_SHARE = 20  # the line through a noisy curve is the mean of a 20th of its steps

Steps = dict[int, dict[str, Any]]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('work_dir', nargs='+', type=Path, help='work folder of a run')
    parser.add_argument('--out', type=Path, help='default: log.png in the first work folder')
    return parser.parse_args(argv)


def read_log(folder: Path) -> Steps:
    """Reads the last log entry of each step, in order.

    Raises:
        DataError: the folder has no log, or a line of it is no JSON object.
    """
    steps: Steps = {}
    files = sorted(folder.glob('*/vis_data/scalars.json'))
    for file in files:
        lines = file.read_text(encoding='utf-8').splitlines()
        for number, line in enumerate(lines):
            try:
                values = json.loads(line)
                if 'loss' in values:
                    steps[values['step']] = values
            except (ValueError, KeyError, TypeError) as error:
                if number == len(lines) - 1:  # a kill cut it short
                    continue
                raise DataError(
                    f'line {number + 1} of {file} is {line[:60]!r}, expected a JSON object with a '
                    'step. Delete the line.'
                ) from error
    if not steps:
        raise DataError(
            f'{folder} has no log of a training run: {len(files)} scalars.json there, no loss in '
            'them. Name the work folder of tools/train.py.'
        )
    return dict(sorted(steps.items()))


def smooth(values: Sequence[float], window: int) -> list[float]:
    """Averages each value with those before it, over ``window`` values at most."""
    parts = (values[max(0, k - window + 1) : k + 1] for k in range(len(values)))
    return [sum(part) / len(part) for part in parts]


def names_of(folders: Sequence[Path]) -> list[str]:
    """Names each run by its folder, or by its whole path where two folders share a name."""
    names = [folder.resolve().name for folder in folders]
    return [n if names.count(n) == 1 else str(f) for n, f in zip(names, folders, strict=True)]


def draw(runs: Mapping[str, Steps], out: Path) -> None:
    """Writes the PNG."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(11, 7), layout='constrained')
    for axis, (key, label) in zip(axes.flat, PANELS.items(), strict=True):
        for number, (name, steps) in enumerate(runs.items()):
            points = [(step, values[key]) for step, values in steps.items() if key in values]
            if not points:
                continue
            x, y = zip(*points, strict=True)
            window = len(x) // _SHARE
            noisy = window > 1 and key != 'lr'
            colour = f'C{number}'
            axis.plot(x, y, color=colour, alpha=0.25 if noisy else 1, label=None if noisy else name)
            if noisy:
                axis.plot(x, smooth(y, window), color=colour, label=f'{name}, mean of {window}')
        axis.set(xlabel='step', ylabel=label)
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(fontsize='small')
        else:
            axis.set_visible(False)  # no log has it
    figure.savefig(out, dpi=110)
    pyplot.close(figure)


def run(args: argparse.Namespace) -> dict[str, Any]:
    runs = dict(zip(names_of(args.work_dir), map(read_log, args.work_dir), strict=True))
    out = args.out or args.work_dir[0] / 'log.png'
    draw(runs, out)
    last = {name: list(steps.values())[-1]['loss'] for name, steps in runs.items()}
    return dict(png=str(out), steps={n: max(s) for n, s in runs.items()}, loss=last)


def main(argv: list[str] | None = None) -> int:
    return run_tool(__file__, parse_args, run, argv)


if __name__ == '__main__':
    sys.exit(main())
