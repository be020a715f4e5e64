#!/usr/bin/env python
"""Teaches llava-tiny a colour that it never saw, by LoRA, and measures what it forgot.

  python projects/llava_tiny/tools/learn_color.py        # five minutes

Draws data/tiny-brown, trains projects/llava_tiny/configs/llava-tiny_brown-lora.py, and captions
scenes with brown and scenes without, before and after. The row goes to
tools/benchmark/results/tiny.jsonl, and is the last line of output.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))
import mmllava
from mmllava.apis.inferencers import CaptionInferencer
from mmllava.apis.load import WEIGHTS
from mmllava.io import provenance
from projects.llava_tiny.caption_check import is_right
from projects.llava_tiny.draw import draw_scene
from projects.llava_tiny.scenes import NEW_COLOR, make_scene
from projects.llava_tiny.tools.evaluate import BATCH, RESULTS, ROOT, share

CONFIG = 'projects/llava_tiny/configs/llava-tiny_brown-lora.py'
WORK = 'work_dirs/llava-tiny_brown-lora'
SCENES = 300


def run(*command: str) -> None:
    """Runs one of our tools in the repository; ends the program if it fails."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    if subprocess.run([sys.executable, *command], cwd=ROOT, env=environment).returncode:
        sys.exit(f'learn_color: {command[0]} failed.')


def measure(checkpoint: str) -> dict[str, float]:
    """Measures the share of right captions of scenes with the new colour, and without."""
    base = dict(lang_encoder=dict(pretrained=str(WEIGHTS)))
    model = mmllava.get_model('llava-tiny_caption', pretrained=checkpoint, device='cpu', **base)
    shares = {}
    for name, color in (('new', NEW_COLOR), ('old', None)):
        scenes = [make_scene('test', number, color) for number in range(SCENES)]
        found = CaptionInferencer(model)([draw_scene(s) for s in scenes], batch_size=BATCH)
        shares[name] = share(
            is_right(one['pred_caption'], scene) for one, scene in zip(found, scenes, strict=True)
        )
    return shares


def main() -> int:
    made = provenance('torch', 'transformers')
    if not (ROOT / 'data/tiny-brown/test_answers.json').is_file():
        data = ('data/tiny-brown', '--train', '4000', '--test', '8', '--questions', '8')
        run('projects/llava_tiny/tools/make_data.py', *data, '--color', NEW_COLOR)
    shutil.rmtree(ROOT / WORK, ignore_errors=True)
    before, start = measure(str(WEIGHTS)), time.perf_counter()
    run('tools/train.py', CONFIG, '--work-dir', WORK)
    seconds = time.perf_counter() - start
    (checkpoint,) = (ROOT / WORK).glob('iter_*')
    after = measure(str(checkpoint))
    row = dict(
        **made,
        config=CONFIG,
        scenes=SCENES,
        train_s=round(seconds, 1),
        before=before,
        after=after,
        kept=round(after['old'] / max(before['old'], 1e-9), 4),
    )
    with RESULTS.open('a', encoding='utf-8') as file:
        file.write(json.dumps(row) + '\n')
    print(json.dumps(row))
    return 0


if __name__ == '__main__':
    sys.exit(main())
