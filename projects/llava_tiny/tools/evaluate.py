#!/usr/bin/env python
"""Measures llava-tiny on scenes that its training never saw.

  python projects/llava_tiny/tools/evaluate.py            # the model in the package
  python projects/llava_tiny/tools/evaluate.py --no-row \\
      --checkpoint work_dirs/llava-tiny_talk/iter_5000

Captions of 1,000 scenes and of 1,000 with combinations that were held out; 2,000 questions, as
they are and with black images; 200 talks about two images; the time of one caption. The
row goes to tools/benchmark/results/tiny.jsonl, and is the last line of output.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))
sys.path.append(str(Path(__file__).parents[3] / 'tools'))
import torch
from _cli import make_parser, run_tool
from PIL import Image

import mmllava
from mmllava.apis.inferencers import CaptionInferencer, VQAInferencer
from mmllava.apis.load import WEIGHTS
from mmllava.io import provenance
from mmllava.metrics.captions import score_captions
from projects.llava_tiny.build_dataset import scored_questions
from projects.llava_tiny.caption_check import facts_of, is_right, read_facts
from projects.llava_tiny.dialogue_eval import make_talk, run_dialogue
from projects.llava_tiny.draw import draw_scene
from projects.llava_tiny.scenes import HELD_OUT, SIDE, make_scene
from projects.llava_tiny.sentences import SCORED, captions

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / 'tools/benchmark/results/tiny.jsonl'
BATCH = 50


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('--checkpoint', default=str(WEIGHTS), help='default: the package')
    parser.add_argument('--scenes', type=int, default=1000, help='of each caption test')
    parser.add_argument('--questions', type=int, default=2000)
    parser.add_argument('--talks', type=int, default=200)
    parser.add_argument('--no-row', action='store_true', help='print the row, do not keep it')
    return parser.parse_args(argv)


def test_captions(checkpoint: str, split: str, count: int) -> dict[str, Any]:
    """Measures shares of right captions and right surfaces; BLEU-4, ROUGE-L, CIDEr."""
    model = mmllava.get_model('llava-tiny_caption', pretrained=checkpoint, device='cpu')
    scenes = [make_scene(split, number) for number in range(count)]
    found = CaptionInferencer(model)([draw_scene(s) for s in scenes], batch_size=BATCH)
    said = [one['pred_caption'] for one in found]
    right = [is_right(text, scene) for text, scene in zip(said, scenes, strict=True)]
    for text, scene, good in zip(said, scenes, right, strict=True):
        if not good:
            print(f'{split}: {text!r} for {captions(scene)[0]!r}', file=sys.stderr)
    surface = sum(
        read_facts(text).surface == facts_of(scene).surface
        for text, scene in zip(said, scenes, strict=True)
    )
    scores = score_captions(
        dict(enumerate(captions(scene) for scene in scenes)), dict(enumerate(said))
    )
    keep = {name: round(scores.corpus[name], 4) for name in ('Bleu_4', 'ROUGE_L', 'CIDEr')}
    by_order = [
        good
        for good, scene in zip(right, scenes, strict=True)
        if split == 'held-out' and not {(t.color, t.kind) for t in scene.things} & set(HELD_OUT)
    ]
    order = dict(order_alone=share(by_order)) if by_order else {}  # dog left of car, no purple cat
    return dict(right=share(right), **order, surface=round(surface / count, 4), **keep)


def test_questions(checkpoint: str, count: int, blind: bool = False) -> dict[str, float]:
    """Measures the share of right one-word answers, over all and for each kind."""
    model = mmllava.get_model('llava-tiny_vqa', pretrained=checkpoint, device='cpu')
    scenes = [make_scene('test', number) for number in range(1000)]
    asked = list(scored_questions(scenes, count))
    nothing = Image.new('RGB', (SIDE, SIDE))
    images = [nothing if blind else draw_scene(scenes[image]) for image, _ in asked]
    texts = [question.text for _, question in asked]
    found = VQAInferencer(model)(images, texts, batch_size=BATCH)
    right = [
        one['pred_answer'].lower() == question.short.lower()
        for one, (_, question) in zip(found, asked, strict=True)
    ]
    shares = dict(all=share(right))
    for kind in SCORED:
        shares[kind] = share(
            r for r, (_, question) in zip(right, asked, strict=True) if question.kind == kind
        )
    if blind:  # what saying always the same would give
        for kind in SCORED:
            answers = Counter(q.short for _, q in asked if q.kind == kind)
            shares[f'{kind} commonest'] = round(max(answers.values()) / answers.total(), 4)
    return shares


def test_talks(checkpoint: str, count: int) -> dict[str, float]:
    """Measures shares of dialogues with right answers about the first, the second, both images."""
    model = mmllava.get_model('llava-tiny_chat', pretrained=checkpoint, device='cpu')
    scenes = [make_scene('test', number) for number in range(1000)]
    rng = random.Random('talks')
    first, second, single = [], [], []
    for _ in range(count):
        talk = make_talk(scenes, rng)
        good = [
            said == q.sentence for q, said in run_dialogue(talk, lambda: mmllava.ChatSession(model))
        ]
        single += good
        first.append(all(good[: len(talk.about_first)]))
        second.append(all(good[len(talk.about_first) :]))
    both = [a and b for a, b in zip(first, second, strict=True)]
    return dict(
        three_turns=share(first), second_picture=share(second), both=share(both),
        answers=share(single),
    )  # fmt: skip


def time_caption(checkpoint: str, count: int = 20) -> float:
    """Measures the median time of one caption, in seconds."""
    model = mmllava.get_model('llava-tiny_caption', pretrained=checkpoint, device='cpu')
    infer, seconds = CaptionInferencer(model), []
    for number in range(count):
        image, start = draw_scene(make_scene('test', number)), time.perf_counter()
        infer(image)
        seconds.append(time.perf_counter() - start)
    return round(sorted(seconds)[count // 2], 4)


def share(right: Iterable[bool]) -> float:
    """Returns the fraction that is true."""
    right = list(right)
    return round(sum(right) / len(right), 4)


def run(args: argparse.Namespace) -> dict:
    path = args.checkpoint
    row = dict(
        **provenance('torch', 'transformers'),
        threads=torch.get_num_threads(),
        checkpoint='package' if path == str(WEIGHTS) else Path(path).name,
        scenes=args.scenes,
        questions=args.questions,
        talks=args.talks,
        captions=test_captions(path, 'test', args.scenes),
        held_out=test_captions(path, 'held-out', args.scenes),
        vqa=test_questions(path, args.questions),
        vqa_blind=test_questions(path, args.questions, blind=True),
        chat=test_talks(path, args.talks),
        caption_s=time_caption(path),
    )
    if not args.no_row:
        with RESULTS.open('a', encoding='utf-8') as file:
            file.write(json.dumps(row) + '\n')
    return row


def main(argv: list[str] | None = None) -> int:
    return run_tool(__file__, parse_args, run, argv)


if __name__ == '__main__':
    sys.exit(main())
