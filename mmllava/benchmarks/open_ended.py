"""Answers in sentences, for a judge: MM-Vet and LLaVA-Bench."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmllava.benchmarks.files import ID, below, read_json, read_lines, take, unique
from mmllava.benchmarks.types import Answers, Benchmark, Item


def read_mmvet(questions: Path, images: Path) -> list[Item]:
    """MM-Vet's ``mm-vet.json``."""
    items = []
    for id_, row in read_json(questions, dict).items():
        where = f'{questions}: {id_}'
        image, question = take(row, where, imagename=str, question=str)
        items.append(Item(id_, dict(question=question), below(images, image, where), image))
    return items


def submit_mmvet(items: Sequence[Item], answers: Answers) -> dict[str, Any]:
    """What MM-Vet's judge reads: id -> answer; one that is missing is left out."""
    pairs = zip(items, answers, strict=True)
    return {'mm-vet.json': {item.id: a for item, a in pairs if a is not None}}


def read_llava_bench(questions: Path, images: Path, *, image_name: str = '{}') -> list[Item]:
    """LLaVA-Bench, In-the-Wild or COCO: a file of JSON lines.

    Args:
        questions: ``questions.jsonl``, or ``qa90_questions.jsonl`` of COCO.
        images: folder of the pictures.
        image_name: a picture's file, from its name in the questions;
            ``COCO_val2014_{}`` for COCO's folder of 2014.
    """
    items = []
    for where, row in read_lines(questions):
        id_, image, text = take(row, where, question_id=ID, image=str, text=str)
        groups = dict(category=take(row, where, category=str)[0]) if 'category' in row else {}
        picture = below(images, image_name.format(image), where)
        item = Item(id_, dict(question=text), picture, image, groups=groups)
        items.append((where, item))
    return unique(items, 'question_id')


def submit_llava_bench(
    items: Sequence[Item], answers: Answers, model_id: str = 'mmllava'
) -> dict[str, Any]:
    """LLaVA's answers file, which its judge reads; a missing answer is left out.

    ``answer_id`` follows from the answer, and ``model_id`` says who gave it.
    """
    rows = []
    for item, text in zip(items, answers, strict=True):
        if text is None:
            continue
        prompt = item.fields['question']
        mark = hashlib.sha256(f'{item.id}\n{prompt}\n{text}'.encode()).hexdigest()[:22]
        rows.append(
            dict(
                question_id=item.id,
                prompt=prompt,
                text=text,
                answer_id=mark,
                model_id=model_id,
                metadata={},
            )
        )
    return {'answers.jsonl': rows}


BENCHMARKS = {
    'mmvet': Benchmark('MM-Vet', read_mmvet, submit=submit_mmvet),
    'llava_bench': Benchmark(
        'LLaVA-Bench', read_llava_bench, submit=submit_llava_bench, signed=True
    ),
}
