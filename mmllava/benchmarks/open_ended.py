"""Open-ended benchmarks, whose answers a judge rates: MM-Vet and LLaVA-Bench."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmllava.benchmarks.files import ID, get_fields, read_json, unique_items
from mmllava.benchmarks.types import Answers, Benchmark, Item
from mmllava.io import read_records, resolve_below


def read_mmvet(questions: Path, images: Path) -> list[Item]:
    """Reads MM-Vet's ``mm-vet.json``."""
    items = []
    for id_, record in read_json(questions, dict).items():
        where = f'{questions}: {id_}'
        image, question = get_fields(record, where, imagename=str, question=str)
        items.append(Item(id_, dict(question=question), resolve_below(images, image, where), image))
    return items


def submit_mmvet(items: Sequence[Item], answers: Answers) -> dict[str, Any]:
    """Writes what MM-Vet's judge reads, id -> answer; a missing answer is left out."""
    pairs = zip(items, answers, strict=True)
    return {'mm-vet.json': {item.id: a for item, a in pairs if a is not None}}


def read_llava_bench(questions: Path, images: Path, *, image_name: str = '{}') -> list[Item]:
    """Reads LLaVA-Bench, In-the-Wild or COCO: a file of JSON lines.

    Args:
        questions: ``questions.jsonl``, or ``qa90_questions.jsonl`` of COCO.
        images: folder of the images.
        image_name: format of an image's file name, from its name in the questions;
            ``COCO_val2014_{}`` for COCO's folder of 2014.
    """
    items = []
    for where, record in read_records(questions):
        id_, image, text = get_fields(record, where, question_id=ID, image=str, text=str)
        groups = (
            dict(category=get_fields(record, where, category=str)[0])
            if 'category' in record
            else {}
        )
        path = resolve_below(images, image_name.format(image), where)
        item = Item(id_, dict(question=text), path, image, groups=groups)
        items.append((where, item))
    return unique_items(items, 'question_id')


def submit_llava_bench(
    items: Sequence[Item], answers: Answers, model_id: str = 'mmllava'
) -> dict[str, Any]:
    """Writes LLaVA's answers file, which its judge reads; a missing answer is left out.

    ``answer_id`` is a hash of question and answer; ``model_id`` names the model.
    """
    records = []
    for item, text in zip(items, answers, strict=True):
        if text is None:
            continue
        prompt = item.fields['question']
        answer_id = hashlib.sha256(f'{item.id}\n{prompt}\n{text}'.encode()).hexdigest()[:22]
        records.append(
            dict(
                question_id=item.id,
                prompt=prompt,
                text=text,
                answer_id=answer_id,
                model_id=model_id,
                metadata={},
            )
        )
    return {'answers.jsonl': records}


BENCHMARKS = {
    'mmvet': Benchmark('MM-Vet', read_mmvet, submit=submit_mmvet),
    'llava_bench': Benchmark(
        'LLaVA-Bench', read_llava_bench, submit=submit_llava_bench, signed=True
    ),
}
