#!/usr/bin/env python
"""Times four conversions of random LLaMA-7B- or 13B-shaped models against cat and dd.

  python tools/benchmark/convert.py /tmp/convert-benchmark --size 7B          # 42 GB of disk
  python tools/benchmark/convert.py /tmp/convert-benchmark --size 13B --only original-hf
  python tools/benchmark/convert.py /tmp/convert-benchmark --layers 2 --hidden 256 --words 1000

The conversions are delta -> mmllava, original -> hf, hf -> original, and lora -> original. For
each, in this order: `dd` of as many bytes as the result has, with conv=fsync; the conversion by
tools/convert.py; `cat` of all inputs to /dev/null. Inputs are out of the page cache for the
conversion and for `cat`. Ratio = conversion / (cat + dd). Each byte is hashed twice on the way,
once for the source files' sums and once for the tensors'. Memory is sampled from /proc every
20 ms; `peak_rss_mb` is all that is resident, `peak_anon_mb` what is no file. Appends a row per
conversion to tools/benchmark/results/convert.jsonl and deletes what it made.
"""

import argparse
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from merge import ROOT, forget, llama_layout, timed, watch

sys.path.append(str(Path(__file__).parents[1]))
from _cli import make_parser, run_tool

from mmllava.checkpoints.storage.tensor_entry import nbytes_of
from mmllava.checkpoints.storage.writer import Layout, SafetensorsSink, TorchSink
from mmllava.io import provenance

TOOL = ROOT / 'tools/convert.py'
RESULTS = ROOT / 'tools/benchmark/results/convert.jsonl'
SIZES = {'7B': (32, 4096, 32000), '13B': (40, 5120, 32000)}  # layers, hidden size, words
WORDS = ('<im_patch>', '<im_start>', '<im_end>')  # of LLaVA-Lightning-7B-delta-v1-1
RANK = 128  # of LLaVA-1.5's released adapters
CLIP = dict(
    model_type='clip_vision_model', hidden_size=1024, intermediate_size=4096,
    num_hidden_layers=24, num_attention_heads=16, image_size=336, patch_size=14,
    hidden_act='quick_gelu', layer_norm_eps=1e-5,
)  # fmt: skip


def clip_layout() -> Layout:
    """Lists every tensor of CLIP-L/14 at 336 pixels, as transformers names them."""
    at, shapes = 'vision_model.', {}
    shapes[f'{at}embeddings.class_embedding'] = (1024,)
    shapes[f'{at}embeddings.patch_embedding.weight'] = (1024, 3, 14, 14)
    shapes[f'{at}embeddings.position_embedding.weight'] = (577, 1024)
    names = {f'self_attn.{n}_proj': (1024, 1024) for n in ('q', 'k', 'v', 'out')}
    names |= {'mlp.fc1': (4096, 1024), 'mlp.fc2': (1024, 4096)}
    names |= {'layer_norm1': (1024,), 'layer_norm2': (1024,)}
    for k in range(24):
        for name, shape in names.items():
            shapes[f'{at}encoder.layers.{k}.{name}.weight'] = shape
            shapes[f'{at}encoder.layers.{k}.{name}.bias'] = shape[:1]
    for name in ('pre_layrnorm', 'post_layernorm'):
        shapes |= {f'{at}{name}.weight': (1024,), f'{at}{name}.bias': (1024,)}
    return [(name, 'float16', shape) for name, shape in shapes.items()]


def projector_layout(hidden: int) -> Layout:
    """v1.5's projector."""
    at = 'model.mm_projector'
    shapes = {f'{at}.0.weight': (hidden, 1024), f'{at}.2.weight': (hidden, hidden)}
    shapes |= {f'{at}.0.bias': (hidden,), f'{at}.2.bias': (hidden,)}
    return [(name, 'float16', shape) for name, shape in shapes.items()]


def adapter_layout(language: Layout) -> Layout:
    """Lists the tensors A and B of every linear layer of a language model."""
    made = []
    for name, _, shape in language:
        if '_proj.' in name and len(shape) == 2:
            stem = f'base_model.model.{name.removesuffix(".weight")}.lora_'
            made.append((f'{stem}A.weight', 'float16', (RANK, shape[1])))
            made.append((f'{stem}B.weight', 'float16', (shape[0], RANK)))
    return made


def fill(sink: SafetensorsSink | TorchSink, layout: Layout, scale: float, seed: int) -> None:
    """Writes random float16; norms are about one, as a model's are.

    One random block of 32 MB is repeated, each time from another place, since drawing
    13.5 GB takes longer than all that is measured.
    """
    drawn = np.random.default_rng(seed).standard_normal(16_000_000, np.float32) * scale
    block = drawn.astype(np.float16).tobytes()
    for index, (name, dtype, shape) in enumerate(layout):
        sink.begin(index)
        if len(shape) == 1 and 'norm' in name and scale > 0.01:
            sink.write(memoryview(np.ones(shape, np.float16)).cast('B'))
            continue
        left, start = nbytes_of(dtype, shape), 2 * (7919 * index % 8_000_000)
        while left:
            piece = memoryview(block)[start : start + left]
            sink.write(piece)
            left, start = left - len(piece), 0
    sink.close()


def make(folder: Path, layout: Layout, config: dict, words: int, scale: float, seed: int) -> Path:
    """Writes a folder of safetensors with config and, for a language model, tokenizer."""
    fill(SafetensorsSink(folder, layout, {}), layout, scale, seed)
    (folder / 'config.json').write_text(json.dumps(config))
    if words:
        (folder / 'tokenizer.model').write_bytes(b''.join(sentencepiece(words)))
    return folder


def sentencepiece(words: int) -> Iterator[bytes]:
    """Yields a SentencePiece BPE model of ``words`` pieces (sentencepiece_model.proto)."""

    def field(number: int, data: bytes) -> bytes:
        return bytes([number << 3 | 2, len(data)]) + data

    for k in range(words):
        text = ('<unk>', '<s>', '</s>')[k] if k < 3 else f'w{k}'
        yield field(1, field(1, text.encode()) + b'\x15' + struct.pack('<f', -float(k)))
    yield field(2, b'\x18\x02')  # trainer_spec.model_type = BPE
    yield field(3, b'\x18\x01\x20\x00')  # a space in front, and none taken away


class Bench:
    """Makes the weights of one size and measures conversions of them."""

    def __init__(self, root: Path, layers: int, hidden: int, words: int) -> None:
        self.root, self.words = root, words
        self.language = llama_layout(layers, hidden, words)
        self.hidden = hidden
        between = next(s[0] for n, _, s in self.language if 'up_proj' in n)
        self.plain = dict(
            model_type='llama', hidden_size=hidden, num_hidden_layers=layers, vocab_size=words,
            intermediate_size=between, num_attention_heads=max(hidden // 128, 1),
            rms_norm_eps=1e-6, max_position_embeddings=2048,
        )  # fmt: skip
        self.llava = self.plain | dict(
            model_type='llava', mm_projector_type='mlp2x_gelu', mm_hidden_size=1024,
            mm_vision_select_layer=-2, mm_patch_merge_type='flat', image_aspect_ratio='pad',
        )  # fmt: skip

    def run(self, name: str, out: str, inputs: list[Path], *arguments: str) -> dict:
        """Times dd, one conversion and cat; gives a row."""
        files = sorted(
            f for i in inputs for f in i.iterdir() if f.suffix in ('.safetensors', '.bin')
        )
        in_bytes = sum(file.stat().st_size for file in files)
        command = [sys.executable, str(TOOL), *arguments]
        plan = subprocess.run([*command, '--dry-run'], check=True, capture_output=True)
        told = json.loads(plan.stdout.splitlines()[-1])
        forget(files)
        dd = ['dd', 'if=/dev/zero', f'of={self.root / "dd"}', 'bs=8M', f'count={told["bytes"]}']
        dd_s = timed([*dd, 'iflag=count_bytes', 'conv=fsync', 'status=none'])
        (self.root / 'dd').unlink()
        load, before = os.getloadavg()[0], os.times()
        seconds, peaks, told = watch([*command, '--out', str(self.root / out)])
        after = os.times()
        forget(files)
        cat_s = timed(['cat', *map(str, files)], stdout=subprocess.DEVNULL)
        return dict(
            conversion=name, tensors=told['tensors'], input_bytes=in_bytes,
            output_bytes=told['bytes'], cat_s=round(cat_s, 2), dd_s=round(dd_s, 2),
            convert_s=round(seconds, 2), ratio=round(seconds / (cat_s + dd_s), 3),
            convert_user_s=round(after.children_user - before.children_user, 2),
            convert_system_s=round(after.children_system - before.children_system, 2),
            load_before=round(load, 2),
            peak_rss_mb=round(max(peaks['VmRSS'], told['peak_rss_mb']), 1),
            peak_anon_mb=round(peaks['RssAnon'], 1),
        )  # fmt: skip

    def original_hf(self) -> Iterator[dict]:
        """original -> hf, and the result back."""
        layout = [*self.language, *projector_layout(self.hidden)]
        model = make(self.root / 'original', layout, self.llava, self.words, 0.02, seed=1)
        clip = make(self.root / 'clip', clip_layout(), CLIP, 0, 0.02, seed=2)
        yield self.run(
            'original -> hf', 'hf', [model, clip], str(model), '--to', 'hf', '--tower', str(clip)
        )
        shutil.rmtree(model)
        hf = self.root / 'hf'
        yield self.run('hf -> original', 'back', [hf], str(hf), '--to', 'original')

    def delta(self) -> Iterator[dict]:
        """Measures LLaMA + delta -> mmllava."""
        grown = self.words + len(WORDS)
        layout = [(n, d, (grown, *s[1:]) if s[0] == self.words else s) for n, d, s in self.language]
        layout += [('model.mm_projector.weight', 'float16', (self.hidden, 1024))]
        layout += [('model.mm_projector.bias', 'float16', (self.hidden,))]
        told = dict(mm_projector_type='linear', vocab_size=grown, mm_use_im_start_end=True)
        told = self.llava | told
        base = make(self.root / 'base', self.language, self.plain, self.words, 0.02, seed=3)
        delta = make(self.root / 'delta', layout, told, self.words, 0.002, seed=4)
        added = {word: self.words + k for k, word in enumerate(WORDS)}
        (delta / 'added_tokens.json').write_text(json.dumps(added))
        yield self.run(
            'delta -> mmllava', 'out', [base, delta],
            str(delta), '--to', 'mmllava', '--base', str(base),
        )  # fmt: skip

    def lora(self) -> Iterator[dict]:
        """Measures language model + adapter -> original."""
        base = make(self.root / 'base', self.language, self.plain, self.words, 0.02, seed=5)
        folder = self.root / 'lora'
        folder.mkdir()
        layout = adapter_layout(self.language)
        fill(TorchSink(folder / 'adapter_model.bin', layout), layout, 0.005, seed=6)
        layout = projector_layout(self.hidden)
        fill(TorchSink(folder / 'non_lora_trainables.bin', layout), layout, 0.02, seed=7)
        told = dict(peft_type='LORA', r=RANK, lora_alpha=2 * RANK)
        (folder / 'adapter_config.json').write_text(json.dumps(told))
        (folder / 'config.json').write_text(json.dumps(self.llava))
        yield self.run(
            'lora -> original', 'out', [base, folder],
            str(folder), '--to', 'original', '--base', str(base),
        )  # fmt: skip


CASES: dict[str, Callable[[Bench], Iterator[dict]]] = {
    'original-hf': Bench.original_hf,
    'delta': Bench.delta,
    'lora': Bench.lora,
}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('folder', type=Path, help='on the disk to measure; must not exist')
    parser.add_argument('--size', choices=SIZES, default='7B')
    parser.add_argument('--only', choices=CASES, help='one case; all by default')
    parser.add_argument('--layers', type=int, help="in the place of the size's own")
    parser.add_argument('--hidden', type=int)
    parser.add_argument('--words', type=int)
    parser.add_argument('--results', type=Path, default=RESULTS, help='file to append the rows to')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    layers, hidden, words = (
        given or own
        for given, own in zip((args.layers, args.hidden, args.words), SIZES[args.size], strict=True)
    )
    args.results.parent.mkdir(parents=True, exist_ok=True)
    for case in [args.only] if args.only else CASES:
        args.folder.mkdir(parents=True)
        try:
            for row in CASES[case](Bench(args.folder, layers, hidden, words)):
                row = dict(
                    **provenance('numpy'), nice=os.nice(0),
                    layers=layers, hidden=hidden, words=words,
                    cache='inputs evicted before cat and before the conversion',
                    order='dd, conversion, cat', **row,
                )  # fmt: skip
                with open(args.results, 'a') as results:
                    results.write(json.dumps(row) + '\n')
                print(json.dumps(row), flush=True)
        finally:
            shutil.rmtree(args.folder)
    return 0


def main(argv: list[str] | None = None) -> int:
    return run_tool(__file__, parse_args, run, argv)


if __name__ == '__main__':
    sys.exit(main())
