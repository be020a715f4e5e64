#!/usr/bin/env python
"""Shows llava-tiny at work: a caption, two questions, twelve scenes that training never saw.

  make demo

Writes demo/out/cat-dog.png, the image with what was said about it, and demo/out/sheet.png:
captions that are right in green, wrong ones in red.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

sys.path.append(str(Path(__file__).parents[1]))  # projects/ is not installed

import mmllava
from mmllava.apis.inferencers import CaptionInferencer
from mmllava.images.annotate import PAPER, annotate
from projects.llava_tiny.caption_check import is_right
from projects.llava_tiny.draw import draw_scene
from projects.llava_tiny.scenes import make_scene

HERE = Path(__file__).parent
IMAGE = HERE / 'cat-dog.png'
QUESTIONS = ('What color is the cat?', 'Where is the dog?')
GREEN, RED = (0, 110, 40), (190, 20, 30)
COLUMNS, SIDE = 4, 224


def talk(out: Path) -> None:
    """Captions the image and asks about it; draws both below it."""
    model = mmllava.get_model('llava-tiny_caption', pretrained=True, device='cpu')
    caption = mmllava.inference_model(model, str(IMAGE))['pred_caption']
    print(f'{IMAGE.name}: {caption}')
    lines = [caption]
    chat = mmllava.ChatSession(mmllava.load('tiny', device='cpu'))
    for question, image in zip(QUESTIONS, (str(IMAGE), None), strict=True):
        answer = chat.ask(question, image)
        print(f'{question} {answer}')
        lines.append(f'{question} {answer}')
    with Image.open(IMAGE) as image:
        annotate(image, lines).save(out / IMAGE.name)


def draw_sheet(out: Path) -> None:
    """Captions eight scenes and four of combinations that no training image has."""
    model = mmllava.get_model('llava-tiny_caption', pretrained=True, device='cpu')
    scenes = [make_scene('test', number) for number in range(8)]
    scenes += [make_scene('held-out', number) for number in range(4)]
    said = CaptionInferencer(model)([draw_scene(scene) for scene in scenes], batch_size=12)
    texts = [one['pred_caption'] for one in said]
    right = [is_right(text, scene) for text, scene in zip(texts, scenes, strict=True)]
    tiles = [
        annotate(draw_scene(scene, SIDE), text, ink=GREEN if good else RED)
        for scene, text, good in zip(scenes, texts, right, strict=True)
    ]
    in_rows(tiles).save(out / 'sheet.png')
    print(f'{sum(right)} of {len(right)} captions of scenes that training never saw are right')


def in_rows(tiles: Sequence[Image.Image], gap: int = 8) -> Image.Image:
    """Arranges images of one width in rows of `COLUMNS`, tops level."""
    rows = [tiles[k : k + COLUMNS] for k in range(0, len(tiles), COLUMNS)]
    heights = [max(tile.height for tile in row) + gap for row in rows]
    page = Image.new('RGB', (COLUMNS * (tiles[0].width + gap) - gap, sum(heights)), PAPER)
    for number, row in enumerate(rows):
        for column, tile in enumerate(row):
            page.paste(tile, (column * (tile.width + gap), sum(heights[:number])))
    return page


def main() -> int:
    out = HERE / 'out'
    out.mkdir(exist_ok=True)
    talk(out)
    draw_sheet(out)
    print(f'wrote {out / IMAGE.name} and {out / "sheet.png"}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
