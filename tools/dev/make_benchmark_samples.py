#!/usr/bin/env python
"""Makes small files in the real format of every benchmark, to try a model or a change on.

  python tools/dev/make_benchmark_samples.py samples/
  python tools/test.py configs/benchmarks/gqa.py CHECKPOINT \\
      --cfg-options test_dataloader.dataset.data_root=samples/gqa

Each set gets a folder with its files under the names of docs/datasets.md. The images are
drawn here, and so are questions and answers: no score on them means anything.

The last line of output is one JSON object, for scripts. Exit status: 0 done, 2 refused.
"""

import argparse
import base64
import csv
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

sys.path.append(str(Path(__file__).parents[1]))
from _cli import make_parser, run_tool

from mmllava.errors import ConfigError
from mmllava.io import write_json_lines
from mmllava.metrics.yes_no import COGNITION, PERCEPTION

COUNT = 6  # images of a set
COLOURS = ('red', 'green', 'blue', 'yellow', 'black', 'white')


def draw(path: Path, number: int) -> Path:
    """Draws a small image of one colour with a square in another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new('RGB', (60 + 4 * number, 48), COLOURS[number % len(COLOURS)])
    square = (10, 10, 24 + number, 30)
    ImageDraw.Draw(image).rectangle(square, fill=COLOURS[(number + 2) % len(COLOURS)])
    image.save(path)
    return path


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding='utf-8')


def scienceqa(root: Path) -> None:
    """Writes five problems: with image, with hint, with both, with neither, of two options."""
    subjects = ('natural science', 'social science', 'language science')
    problems = {}
    for n in range(5):
        image, hint = n in (0, 2), 'The square is small.' if n in (1, 2) else ''
        problems[str(100 + n)] = dict(
            question=f'Which colour is number {n}?',
            choices=['red', 'green', 'blue'][: 2 if n == 4 else 3],
            answer=n % 2,
            hint=hint,
            image='image.png' if image else None,
            task='closed choice',
            grade=f'grade{3 * n + 1 if n < 4 else 12}',
            subject=subjects[n % 3],
            topic='colours',
            category='Sight',
            skill='Tell colours',
            lecture='Colours differ.',
            solution='Look at it.',
            split='test',
        )
        if image:
            draw(root / f'images/test/{100 + n}/image.png', n)
    write_json(root / 'problems.json', problems)
    write_json(root / 'pid_splits.json', dict(test=list(problems), train=['100']))


def coco(root: Path) -> None:
    """Writes images with captions, as COCO's releases and as Karpathy's file."""
    captions = [[f'a {COLOURS[n]} picture', f'a square on {COLOURS[n]}'] for n in range(COUNT)]
    for year, name in ((2014, 'COCO_val2014_{:012d}.jpg'), (2017, '{:012d}.jpg')):
        images = [dict(id=n + 1, file_name=name.format(n + 1)) for n in range(COUNT)]
        notes = [
            dict(id=10 * n + k, image_id=n + 1, caption=text)
            for n in range(COUNT)
            for k, text in enumerate(captions[n])
        ]
        file = root / f'annotations/captions_val{year}.json'
        write_json(file, dict(info={}, licenses=[], images=images, annotations=notes))
        for n in range(COUNT):
            draw(root / f'val{year}' / name.format(n + 1), n)
    for n in range(COUNT):
        draw(root / f'test2015/COCO_test2015_{n + 1:012d}.jpg', n)
    images = [
        dict(
            filepath='val2014',
            filename=f'COCO_val2014_{n + 1:012d}.jpg',
            imgid=n,
            cocoid=n + 1,
            split=('val', 'test')[n % 2],
            sentids=[2 * n, 2 * n + 1],
            sentences=[dict(raw=t, tokens=t.split(), imgid=n) for t in captions[n]],
        )
        for n in range(COUNT)
    ]
    write_json(root / 'annotations/dataset_coco.json', dict(dataset='coco', images=images))
    _vqa(root / 'annotations')


def _vqa(folder: Path) -> None:
    """Writes VQAv2 and OK-VQA: questions, and for val ten answers each."""
    for prefix in ('v2_', ''):
        questions = [
            dict(image_id=n // 2 + 1, question_id=10 * n, question=f'Is square {n} red?')
            for n in range(2 * COUNT)
        ]
        kinds = ('yes/no', 'number', 'other')
        notes = [
            dict(
                question_id=row['question_id'],
                image_id=row['image_id'],
                question_type='is',
                answer_type=kinds[n % 3] if prefix else 'other',
                multiple_choice_answer='yes',
                answers=[
                    dict(answer='yes' if k < n else 'no', answer_id=k + 1, answer_confidence='yes')
                    for k in range(10)
                ],
            )
            for n, row in enumerate(questions)
        ]
        head = dict(info={}, license={}, task_type='Open-Ended', data_type='mscoco')
        name = f'{prefix}OpenEnded_mscoco_val2014_questions.json'
        write_json(folder / name, dict(head, data_subtype='val2014', questions=questions))
        name = f'{prefix}mscoco_val2014_annotations.json'
        write_json(folder / name, dict(head, data_subtype='val2014', annotations=notes))
        if prefix:
            for split, rows in (('test-dev2015', questions[:5]), ('test2015', questions)):
                name = f'v2_OpenEnded_mscoco_{split}_questions.json'
                write_json(folder / name, dict(head, data_subtype=split, questions=rows))


def flickr30k(root: Path) -> None:
    """Writes Karpathy's file of Flickr30k."""
    images = [
        dict(
            filename=f'{1000 + n}.jpg',
            imgid=n,
            split='test' if n else 'val',
            sentids=[n],
            sentences=[dict(raw=f'a {COLOURS[n]} picture'), dict(raw='a square')],
        )
        for n in range(COUNT)
    ]
    write_json(root / 'dataset_flickr30k.json', dict(dataset='flickr30k', images=images))
    for n in range(COUNT):
        draw(root / f'flickr30k-images/{1000 + n}.jpg', n)


def nocaps(root: Path) -> None:
    """Writes images of three domains; the test file has no captions."""
    domains = ('in-domain', 'near-domain', 'out-domain')
    images = [
        dict(id=n, file_name=draw(root / f'images/{n:04d}ab.jpg', n).name, domain=domains[n % 3])
        for n in range(COUNT)
    ]
    notes = [
        dict(id=10 * n + k, image_id=n, caption=f'{COLOURS[n]} square {k}')
        for n in range(COUNT)
        for k in range(10)
    ]
    folder = root / 'annotations'
    write_json(folder / 'nocaps_val_4500_captions.json', dict(images=images, annotations=notes))
    write_json(folder / 'nocaps_test_image_info.json', dict(info={}, licenses=[], images=images))


def gqa(root: Path) -> None:
    """Writes questions keyed by id."""
    questions = {
        str(2000 + n): dict(
            imageId=f'n{n}',
            question=f'What colour is square {n}?' if n % 2 else f'Is square {n} red?',
            answer=COLOURS[n] if n % 2 else 'yes',
            fullAnswer='It is.',
            isBalanced=True,
            types=dict(structural='query' if n % 2 else 'verify', semantic='attr'),
            groups=dict({'global': 'color', 'local': 'x'}),
            entailed=[],
            equivalent=[],
        )
        for n in range(COUNT)
    }
    write_json(root / 'testdev_balanced_questions.json', questions)
    for n in range(COUNT):
        draw(root / f'images/n{n}.jpg', n)


def vizwiz(root: Path) -> None:
    """Writes questions with ten answers, one unanswerable; the test file has no answers."""
    for split in ('val', 'test'):
        rows = []
        for n in range(COUNT):
            name = f'VizWiz_{split}_{n:08d}.jpg'
            draw(root / split / name, n)
            row = dict(image=name, question='what colour is this?')
            if split == 'val':
                said = 'unanswerable' if n == 0 else COLOURS[n]
                row |= dict(
                    answers=[dict(answer=said, answer_confidence='yes') for _ in range(10)],
                    answer_type='unanswerable' if n == 0 else 'other',
                    answerable=int(n > 0),
                )
            rows.append(row)
        write_json(root / f'Annotations/{split}.json', rows)


def textvqa(root: Path) -> None:
    """Writes questions with ten answers, and the words that Rosetta read."""
    rows, words = [], []
    for n in range(COUNT):
        image = f'{n:016x}'
        draw(root / f'train_images/{image}.jpg', n)
        rows.append(
            dict(
                question='what does it SAY?',
                image_id=image,
                image_classes=['Square'],
                question_id=34602 + n,
                question_tokens=['what', 'does', 'it', 'say'],
                answers=['stop'] * 7 + ['go'] * 3,
                image_width=60,
                image_height=48,
                set_name='val',
            )
        )
        words.append(dict(image_id=image, ocr_tokens=['STOP', str(n)] if n else [], ocr_info=[]))
    head = dict(dataset_type='val', dataset_name='textvqa', dataset_version='0.5.1')
    write_json(root / 'TextVQA_0.5.1_val.json', dict(head, data=rows))
    write_json(root / 'TextVQA_Rosetta_OCR_v0.2_val.json', dict(head, data=words))


def pope(root: Path) -> None:
    """Writes three files about COCO's images; question numbers restart in each."""
    for k, kind in enumerate(('random', 'popular', 'adversarial')):
        rows = [
            dict(
                question_id=n + 1,
                image=f'COCO_val2014_{n // 2 + 1:012d}.jpg',
                text=f'Is there a {COLOURS[(n + k) % 6]} square in the image?',
                label=('yes', 'no')[n % 2],
            )
            for n in range(6)
        ]
        write_json_lines(root / f'coco_pope_{kind}.json', rows)


def mme(root: Path) -> None:
    """Writes a folder for each task; two of them keep images and texts apart."""
    for k, task in enumerate((*PERCEPTION, *COGNITION)):
        folder = root / 'MME_Benchmark_release_version' / task
        apart = task in ('posters', 'celebrity')
        for n in range(2):
            draw(folder / ('images' if apart else '') / f'{k:04d}{n}.jpg', n)
            notes = folder / ('questions_answers_YN' if apart else '')
            notes.mkdir(parents=True, exist_ok=True)
            (notes / f'{k:04d}{n}.txt').write_text(
                'Is it red? Please answer yes or no.\tYes\n'
                'Is it blue? Please answer yes or no.\tNo\n'
            )


def mmbench(root: Path) -> None:
    """Writes tables with images inside, or another record's; the last repeats the first one."""
    root.mkdir(parents=True, exist_ok=True)
    names = 'index question hint A B C D answer category image source l2-category comment split'
    with tempfile.TemporaryDirectory() as scratch:
        images = [
            base64.b64encode(draw(Path(scratch, f'{n}.jpg'), n).read_bytes()).decode()
            for n in range(3)
        ]
    for file in ('mmbench_dev_20230712.tsv', 'mmbench_dev_cn_20231003.tsv'):
        with open(root / file, 'w', encoding='utf-8', newline='') as handle:
            table = csv.writer(handle, delimiter='\t', lineterminator='\n')
            table.writerow(names.split())
            for n in range(5):
                again = n == 4
                row = [1000241 if again else 241 + n, f'Which colour, "{n % 4}"?']
                row += ['Look.\nAgain.' if n == 1 else 'nan']
                row += ['green', 'red'] if again else ['red', 'green']
                row += ['blue', 'black'] if n % 2 else ['nan', 'nan']
                row += ['AABBB'[n]]
                row += ['colour', images[n] if n < 3 else 241, 'own', 'sight', 'nan', 'dev']
                table.writerow(row)


def seed(root: Path) -> None:
    """Writes questions about images and about frames."""
    rows = []
    for n in range(COUNT):
        video = n % 3 == 2
        row = dict(
            question_id=f'v{n}' if video else str(101669 + n),
            question=f'Which colour is {n}?',
            choice_a='red',
            choice_b='green',
            choice_c='blue',
            choice_d='none',
            answer='ABCD'[n % 4],
            data_id=f'{n}.webm' if video else f'{n}_1',
            data_type='video' if video else 'image',
            question_type_id=10 if video else 1 + n % 2,
        )
        rows.append(row)
        name = f'SEED-Bench-video-image/10_v{n}.png' if video else f'SEED-Bench-image/{n}_1'
        source = draw(root / f'{name}.png', n)
        source.rename(root / name)
    kinds = {'Scene Understanding': 1, 'Instance Identity': 2, 'Action Recognition': 10}
    write_json(root / 'SEED-Bench.json', dict(questions=rows, question_type=kinds))


def mm_vet(root: Path) -> None:
    """Writes questions keyed by id."""
    rows = {
        f'v1_{n}': dict(
            imagename=draw(root / f'images/v1_{n}.png', n).name,
            question=f'What is {n}?',
            answer='a square',
            imagesource='own',
            capability=['rec'],
        )
        for n in range(3)
    }
    write_json(root / 'mm-vet.json', rows)


def llava_bench_in_the_wild(root: Path) -> None:
    """Writes questions of three categories."""
    kinds = ('conv', 'detail', 'complex')
    rows = [
        dict(
            question_id=n,
            image=draw(root / f'images/{n:03d}.jpg', n).name,
            category=f'llava_bench_{kinds[n]}',
            text=f'What is {n}?',
        )
        for n in range(3)
    ]
    write_json_lines(root / 'questions.jsonl', rows)


def llava_bench_coco(root: Path) -> None:
    """Writes the same about COCO's images."""
    rows = [
        dict(question_id=n, image=f'{n + 1:012d}.jpg', text=f'What is {n}?', category='conv')
        for n in range(3)
    ]
    write_json_lines(root / 'qa90_questions.jsonl', rows)


MAKERS: dict[str, Callable[[Path], None]] = {
    'scienceqa': scienceqa,
    'coco': coco,
    'flickr30k': flickr30k,
    'nocaps': nocaps,
    'gqa': gqa,
    'vizwiz': vizwiz,
    'textvqa': textvqa,
    'pope': pope,
    'mme': mme,
    'mmbench': mmbench,
    'seed': seed,
    'mm-vet': mm_vet,
    'llava-bench-in-the-wild': llava_bench_in_the_wild,
    'llava_bench_coco': llava_bench_coco,
}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('folder', type=Path, help='new or empty; a folder for each set goes here')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> dict:
    if args.folder.exists() and (not args.folder.is_dir() or any(args.folder.iterdir())):
        raise ConfigError(f'{args.folder} is not empty; expected a new folder. Name another.')
    for name, make in MAKERS.items():
        make(args.folder / name)
    return dict(folder=str(args.folder), sets=list(MAKERS))


def main(argv: list[str] | None = None) -> int:
    return run_tool(__file__, parse_args, run, argv)


if __name__ == '__main__':
    sys.exit(main())
