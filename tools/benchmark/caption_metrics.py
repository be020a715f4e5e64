#!/usr/bin/env python
"""Times tokenization + BLEU + ROUGE-L + CIDEr, ours against pycocoevalcap's (which needs Java).

  python tools/benchmark/caption_metrics.py                          # 5,000 images, appends a row
  python tools/benchmark/caption_metrics.py --images 50 --rounds 1 --out row.jsonl

Each side runs as its own process on the same files, in turn, start-up included;
memory is the largest sum of resident memory of the process and its children.
The scores must be equal within 1e-9. Rows: tools/benchmark/results/caption_metrics.jsonl.
The last line of output is the row. Exit status: 0 done, 2 a side failed or scores differ.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from _cli import make_parser, run_tool

from mmllava.io import provenance

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / 'results' / 'caption_metrics.jsonl'
REFERENCES = 5  # per image
TOLERANCE = 1e-9

OURS = """
import json, sys
from mmllava.metrics.captions import read_captions, read_references, score_captions
scores = score_captions(read_references(sys.argv[1]), read_captions(sys.argv[2]))
json.dump([scores.corpus, {str(k): v for k, v in scores.per_image.items()}], open(sys.argv[3], 'w'))
"""
THEIRS = """
import json, sys
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
gts, res = {}, {}
for row in json.load(open(sys.argv[1]))['annotations']:
    gts.setdefault(row['image_id'], []).append(row)
for row in json.load(open(sys.argv[2])):
    res[row['image_id']] = [row]
gts, res = PTBTokenizer().tokenize(gts), PTBTokenizer().tokenize(res)
corpus, each = {}, {str(key): {} for key in gts}
bleu, bleus = Bleu(4).compute_score(gts, res, verbose=0)
columns = {f'Bleu_{n + 1}': (bleu[n], bleus[n]) for n in range(4)}
columns['ROUGE_L'] = Rouge().compute_score(gts, res)
columns['CIDEr'] = Cider().compute_score(gts, res)
for name, (total, scores) in columns.items():
    corpus[name] = float(total)
    for key, score in zip(gts, scores):
        each[str(key)][name] = float(score)
json.dump([corpus, each], open(sys.argv[3], 'w'))
"""

# Sentences like those people write under images, about 10.5 words each.
SUBJECTS = 'a man|a woman|two dogs|a small child|three people|a cat|an old bus|the red train|a bird'
SUBJECTS += "|a man's bike|a group of kids|a black-and-white cow|a pizza|the U.S. flag|a t-shirt"
DEEDS = 'is sitting|stands|are playing|lies|is riding|looks out|rests|is parked|hangs|is eating'
PLACES = 'on a bench|in the park|near a window|on top of a table|next to a fence|under a tree'
PLACES += '|in front of a brick building|at night|by the water|on a busy city street|in the snow'
ENDS = 'while it rains|with a red umbrella|and smiles|, waiting for food|with an open laptop'
ENDS += "|that isn't moving|during the day|at 10:30 a.m.|with 2 bags (one open)|, looking away"


def sentence(rng: random.Random) -> str:
    """Draws one caption, 7 to 16 words."""
    parts = [rng.choice(words.split('|')) for words in (SUBJECTS, DEEDS, PLACES, PLACES, ENDS)]
    if rng.random() < 0.35:
        del parts[3]
    text = ' '.join(parts).replace(' ,', ',')
    return text[0].upper() + text[1:] + rng.choice(['.', '.', '', ' .'])


def make_files(folder: Path, images: int) -> None:
    """Writes refs.json and preds.json, the same ones on every machine."""
    rng = random.Random(0)
    annotations = [
        dict(image_id=image, id=image * REFERENCES + n, caption=sentence(rng))
        for image in range(images)
        for n in range(REFERENCES)
    ]
    predictions = [dict(image_id=image, caption=sentence(rng)) for image in range(images)]
    listed = [dict(id=image) for image in range(images)]
    (folder / 'refs.json').write_text(json.dumps(dict(images=listed, annotations=annotations)))
    (folder / 'preds.json').write_text(json.dumps(predictions))


def run_side(code: str, folder: Path, name: str) -> tuple[float, float]:
    """Runs one side; returns wall seconds and peak MB, children included."""
    command = [sys.executable, '-c', code, 'refs.json', 'preds.json', f'{name}.json']
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env={**os.environ, 'PYTHONPATH': paths})
    peak_mb = 0.0
    while process.poll() is None:
        peak_mb = max(peak_mb, _resident_mb(process.pid))
        time.sleep(0.01)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise RuntimeError(f'{name} ended with status {process.returncode}')
    return seconds, peak_mb


def _resident_mb(pid: int) -> float:
    """Returns the resident memory of a process and its children, from /proc; 0 once it is gone."""
    try:
        status = Path(f'/proc/{pid}/statm').read_text().split()
        children = Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
    except OSError:
        return 0.0
    own = int(status[1]) * os.sysconf('SC_PAGE_SIZE') / 1e6
    return own + sum(_resident_mb(int(child)) for child in children)


def largest_difference(folder: Path) -> float:
    """Returns the largest difference over corpus and per-image scores of the two sides."""
    ours, theirs = (json.loads((folder / f'{n}.json').read_text()) for n in ('ours', 'theirs'))
    if ours[0].keys() != theirs[0].keys() or ours[1].keys() != theirs[1].keys():
        raise RuntimeError('the two sides scored different images or metrics')
    pairs = [(ours[0], theirs[0]), *((ours[1][key], theirs[1][key]) for key in theirs[1])]
    return max(abs(a[name] - b[name]) for a, b in pairs for name in b)


def describe(images: int, rounds: int) -> dict:
    """Describes where and what was measured, for a row that is read years later."""
    java = subprocess.run(['java', '-version'], capture_output=True, text=True).stderr
    return dict(
        **provenance('pycocoevalcap'),
        java=java.split('"')[1] if '"' in java else None,
        images=images,
        references=REFERENCES,
        rounds=rounds,
    )


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('--images', type=int, default=5000)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--out', type=Path, default=RESULTS, help='file to append the row to')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int | dict:
    seconds: dict[str, list[float]] = dict(ours=[], theirs=[])
    peak_mb: dict[str, list[float]] = dict(ours=[], theirs=[])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_files(folder, args.images)
        try:
            for _ in range(args.rounds):
                for side, code in (('ours', OURS), ('theirs', THEIRS)):
                    wall, peak = run_side(code, folder, side)
                    seconds[side].append(round(wall, 3))
                    peak_mb[side].append(round(peak, 1))
            difference = largest_difference(folder)
        except RuntimeError as error:
            print(f'caption_metrics: {error}', file=sys.stderr)
            return 2
    row = describe(args.images, args.rounds)
    for side in ('ours', 'theirs'):
        row[f'{side}_seconds'] = statistics.median(seconds[side])
        row[f'{side}_seconds_all'] = seconds[side]
        row[f'{side}_peak_mb'] = max(peak_mb[side])
    row['largest_difference'] = difference
    if difference > TOLERANCE:
        print(f'caption_metrics: scores differ by {difference}: {row}', file=sys.stderr)
        return 2
    with args.out.open('a', encoding='utf-8') as file:
        file.write(json.dumps(row) + '\n')
    return row


def main(argv: list[str] | None = None) -> int:
    return run_tool(__file__, parse_args, run, argv)


if __name__ == '__main__':
    sys.exit(main())
