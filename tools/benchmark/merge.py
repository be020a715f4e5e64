#!/usr/bin/env python
"""Times the delta merge on weights of LLaMA-7B's shapes against the disk that it runs on.

  python tools/benchmark/merge.py /tmp/merge-benchmark              # 41 GB of disk, minutes
  python tools/benchmark/merge.py /tmp/merge-benchmark --layers 2 --hidden 256 --words 1000

Makes a base (2 shards) and a delta (3 shards) of random float16, then, in this order: `dd` of as
many bytes as the result has, with conv=fsync; the merge; `cat` of all inputs to /dev/null. The
inputs are out of the page cache for the merge and for `cat`. One ratio proves little where the
disk's speed jumps: on a virtual disk `dd` of the same bytes took 1.5 s and, a minute later,
10.2 s. Run it several times on a quiet machine and read all rows. Ratio = merge / (cat + dd).
Memory is sampled from /proc every 20 ms. Appends one row to tools/benchmark/results/merge.jsonl
and deletes what it made. The row's `commit` ends in `+` where the tree had changes.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))
from _cli import make_parser, run_tool

from mmllava.checkpoints.storage.tensor_entry import nbytes_of
from mmllava.checkpoints.storage.writer import Layout, TorchSink
from mmllava.io import provenance

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools/model_converters/llava-delta2mmpre.py'
RESULTS = ROOT / 'tools/benchmark/results/merge.jsonl'
NEW_WORDS = 3  # rows of LLaVA-Lightning-7B-delta-v1-1 beyond LLaMA's 32,000


def llama_layout(layers: int, hidden: int, words: int) -> list[tuple[str, str, tuple[int, ...]]]:
    """Lists every tensor of a LLaMA of these sizes; 32, 4096 and 32,000 make LLaMA-7B."""
    between = (hidden * 8 // 3 + 255) // 256 * 256  # LLaMA's rule: 11,008 for 4096
    shapes = {'model.embed_tokens.weight': (words, hidden)}
    for k in range(layers):
        at = f'model.layers.{k}'
        shapes |= {f'{at}.self_attn.{n}_proj.weight': (hidden, hidden) for n in 'qkvo'}
        shapes |= {f'{at}.mlp.{n}_proj.weight': (between, hidden) for n in ('gate', 'up')}
        shapes[f'{at}.mlp.down_proj.weight'] = (hidden, between)
        shapes[f'{at}.input_layernorm.weight'] = (hidden,)
        shapes[f'{at}.post_attention_layernorm.weight'] = (hidden,)
    shapes |= {'model.norm.weight': (hidden,), 'lm_head.weight': (words, hidden)}
    return [(name, 'float16', shape) for name, shape in shapes.items()]


def make_model(folder: Path, layout: Layout, shards: int, scale: float, seed: int) -> None:
    """Writes a model of random values in PyTorch shards with an index.

    One random block of 32 MB is repeated, each time from another place, since drawing
    13.5 GB takes longer than all that is measured.
    """
    folder.mkdir(parents=True)
    drawn = np.random.default_rng(seed).standard_normal(16_000_000, np.float32) * scale
    block = drawn.astype(np.float16).tobytes()
    per_shard = -(-len(layout) // shards)
    weight_map = {}
    for k in range(shards):
        name = f'pytorch_model-{k + 1:05}-of-{shards:05}.bin'
        part = layout[k * per_shard : (k + 1) * per_shard]
        sink = TorchSink(folder / name, part)
        for index, (tensor, dtype, shape) in enumerate(part):
            sink.begin(index)
            left, start = nbytes_of(dtype, shape), 2 * (7919 * index % 8_000_000)
            while left:
                piece = memoryview(block)[start : start + left]
                sink.write(piece)
                left, start = left - len(piece), 0
            weight_map[tensor] = name
        sink.close()
    index = dict(metadata={}, weight_map=weight_map)
    (folder / 'pytorch_model.bin.index.json').write_text(json.dumps(index))


def forget(files: list[Path]) -> None:
    """Writes files to the disk and takes them out of the page cache."""
    for file in files:
        handle = os.open(file, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def timed(command: list[str], **options) -> float:
    """Runs a command that must succeed; gives its seconds."""
    start = time.monotonic()
    subprocess.run(command, check=True, **options)
    return time.monotonic() - start


def watch(command: list[str]) -> tuple[float, dict[str, float], dict]:
    """Runs a command; gives seconds, peak MB by kind, and the JSON of its last line."""
    start = time.monotonic()
    peaks = {'VmRSS': 0.0, 'RssAnon': 0.0, 'RssFile': 0.0}
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        status = Path(f'/proc/{process.pid}/status')
        while process.poll() is None:
            lines = dict(line.split(':', 1) for line in status.read_text().splitlines())
            for key in peaks.keys() & lines.keys():  # a process that has ended has none
                peaks[key] = max(peaks[key], int(lines[key].split()[0]) * 1024 / 1e6)
            time.sleep(0.02)
        seconds = time.monotonic() - start
        output = process.stdout.read()
    if process.returncode:
        raise SystemExit(f'the merge failed with exit status {process.returncode}')
    return seconds, peaks, json.loads(output.splitlines()[-1])


def measure(folder: Path, args: argparse.Namespace) -> dict:
    """Makes the weights, times the three commands; gives the row."""
    layout = llama_layout(args.layers, args.hidden, args.words)
    make_model(folder / 'base', layout, 2, 0.02, seed=1)
    grown = [(n, d, (s[0] + NEW_WORDS, *s[1:]) if s[0] == args.words else s) for n, d, s in layout]
    grown += [('model.mm_projector.weight', 'float16', (args.hidden, 1024))]
    grown += [('model.mm_projector.bias', 'float16', (args.hidden,))]
    make_model(folder / 'delta', grown, 3, 0.002, seed=2)
    inputs = sorted(folder.glob('*/*.bin'))
    in_bytes = sum(file.stat().st_size for file in inputs)
    out_bytes = sum(nbytes_of(dtype, shape) for _, dtype, shape in grown)

    dd = ['dd', 'if=/dev/zero', f'of={folder / "dd"}', 'bs=8M', f'count={out_bytes}']
    forget(inputs)
    dd_s = timed([*dd, 'iflag=count_bytes', 'conv=fsync', 'status=none'])
    (folder / 'dd').unlink()
    load = os.getloadavg()[0]  # of all programs here; our own writing is about 1 of it
    command = [sys.executable, str(TOOL), str(folder / 'base'), str(folder / 'delta')]
    before = os.times()
    merge_s, peaks, said = watch([*command, str(folder / 'merged.pth')])
    after = os.times()
    forget(inputs)
    cat_s = timed(['cat', *map(str, inputs)], stdout=subprocess.DEVNULL)
    return dict(
        tensors=said['tensors'],
        input_bytes=in_bytes,
        output_bytes=out_bytes,
        cat_s=round(cat_s, 2),
        dd_s=round(dd_s, 2),
        merge_s=round(merge_s, 2),
        merge_user_s=round(after.children_user - before.children_user, 2),
        merge_system_s=round(after.children_system - before.children_system, 2),
        load_before=round(load, 2),
        ratio=round(merge_s / (cat_s + dd_s), 3),
        peak_rss_mb=round(max(peaks['VmRSS'], said['peak_rss_mb']), 1),
        peak_anon_mb=round(peaks['RssAnon'], 1),
        peak_file_mb=round(peaks['RssFile'], 1),
    )


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('folder', type=Path, help='on the disk to measure; must not exist')
    parser.add_argument('--layers', type=int, default=32)
    parser.add_argument('--hidden', type=int, default=4096)
    parser.add_argument('--words', type=int, default=32000)
    parser.add_argument('--results', type=Path, default=RESULTS, help='file to append the row to')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> dict:
    args.folder.mkdir(parents=True)
    try:
        row = measure(args.folder, args)
    finally:
        shutil.rmtree(args.folder)
    row = dict(
        **provenance('numpy'),
        layers=args.layers,
        hidden=args.hidden,
        words=args.words,
        cache='inputs evicted before cat and before the merge',
        order='dd, merge, cat',
        **row,
    )
    args.results.parent.mkdir(parents=True, exist_ok=True)
    with open(args.results, 'a') as results:
        results.write(json.dumps(row) + '\n')
    return row


def main(argv: list[str] | None = None) -> int:
    return run_tool(__file__, parse_args, run, argv)


if __name__ == '__main__':
    sys.exit(main())
