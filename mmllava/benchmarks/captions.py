"""Caption benchmarks: COCO in its releases and Karpathy's splits, NoCaps, Flickr30k.

An image is one item, however many references it has.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmllava.benchmarks.files import (
    ID,
    check_unique_ids,
    get_fields,
    look_up,
    read_json,
    records,
    unique_items,
)
from mmllava.benchmarks.types import Answers, Benchmark, Item, Scores
from mmllava.errors import DataError, unknown_name
from mmllava.io import resolve_below
from mmllava.metrics.captions import score_captions


def read_coco(annotations: Path, images: Path, *, image_name: str | None = None) -> list[Item]:
    """Reads COCO's own layout, which NoCaps has too.

    Args:
        annotations: ``captions_val2014.json``, ``nocaps_val_4500_captions.json`` and the like;
            the file of a test split has ``images`` only.
        images: folder of the images.
        image_name: format of an image's file name, from its id; None takes ``file_name``.
    """
    content = read_json(annotations, dict)
    listed = records(annotations, content, 'images')
    ids = [(where, get_fields(record, where, id=ID)[0]) for where, record in listed]
    check_unique_ids(ids, 'id')
    references: dict[Any, list[str]] = {id_: [] for _, id_ in ids}
    annotated = content.get('annotations') is not None
    if annotated:
        for where, record in records(annotations, content, 'annotations'):
            image_id, caption = get_fields(record, where, image_id=ID, caption=str)
            look_up(references, image_id, where, f'{annotations}: images', 'image_id').append(
                caption
            )
    items = []
    for where, record in listed:
        id_, name = get_fields(record, where, id=ID, file_name=str)
        if annotated and not references[id_]:
            raise DataError(
                f'{where} (id {id_!r}) has no caption in "annotations". Remove the image, or '
                'download the file again.'
            )
        name = image_name.format(id_) if image_name else name
        domain = record.get('domain')
        groups = dict(domain=domain) if isinstance(domain, str) else {}
        truth = references[id_] if annotated else None
        item = Item(id_, {}, resolve_below(images, name, where), id_, truth, groups)
        items.append((where, item))
    return unique_items(items)


def read_karpathy(annotations: Path, images: Path, *, split: str = 'test') -> list[Item]:
    """Reads Karpathy's splits: ``dataset_coco.json`` or ``dataset_flickr30k.json``.

    Args:
        annotations: that file.
        images: folder that ``filepath`` and ``filename`` are relative to.
        split: ``train``, ``restval``, ``val`` or ``test``.
    """
    listed = records(annotations, read_json(annotations, dict), 'images')
    splits = {record['split'] for where, record in listed if get_fields(record, where, split=str)}
    if split not in splits:
        raise unknown_name(f'split of {annotations}', split, splits)
    items = []
    for where, record in listed:
        if record['split'] != split:
            continue
        name, sentences = get_fields(record, where, filename=str, sentences=list)
        captions = [
            get_fields(s, f'{where} sentences[{n}]', raw=str)[0] for n, s in enumerate(sentences)
        ]
        if not captions:
            raise DataError(f'{where} has no sentences. Remove the image.')
        key = 'cocoid' if 'cocoid' in record else 'imgid'
        (id_,) = get_fields(record, where, **{key: ID})
        folder = record.get('filepath', '')
        item = Item(
            id_, {}, resolve_below(images, f'{folder}/{name}'.lstrip('/'), where), id_, captions
        )
        items.append((where, item))
    return unique_items(items)


def score_caption_set(items: Sequence[Item], answers: Answers) -> Scores:
    """Computes BLEU, ROUGE-L and CIDEr in pycocoevalcap's scale, and NoCaps' CIDEr by domain.

    Images without an answer are left out. A domain is scored by itself, with the document
    frequencies of its own images.
    """
    pairs = [(i, a) for i, a in zip(items, answers, strict=True) if a is not None]
    scores = score_captions({i.id: i.truth for i, _ in pairs}, {i.id: a for i, a in pairs}).corpus
    for domain in dict.fromkeys(i.groups['domain'] for i, _ in pairs if i.groups):
        members = [(i, a) for i, a in pairs if i.groups.get('domain') == domain]
        domain_scores = score_captions(
            {i.id: i.truth for i, _ in members}, {i.id: a for i, a in members}, ['CIDEr']
        )
        scores[f'{domain}/CIDEr'] = domain_scores.corpus['CIDEr']
    return scores


def captions_per_sample(items: Sequence[Item], answers: Answers) -> list[Scores]:
    """Computes BLEU, ROUGE-L and CIDEr of each image among the others; {} without an answer."""
    pairs = [(i, a) for i, a in zip(items, answers, strict=True) if a is not None]
    scores = score_captions({i.id: i.truth for i, _ in pairs}, {i.id: a for i, a in pairs})
    return [scores.per_image.get(item.id, {}) for item in items]


def submit_captions(items: Sequence[Item], answers: Answers) -> dict[str, Any]:
    """Writes COCO's results format, which the servers of COCO and NoCaps take."""
    results = [
        dict(image_id=item.id, caption=answer)
        for item, answer in zip(items, answers, strict=True)
        if answer is not None
    ]
    return {'captions_results.json': results}


BENCHMARKS = {
    'coco': Benchmark(
        'COCO captions',
        read_coco,
        score_caption_set,
        submit_captions,
        per_sample=captions_per_sample,
        caption=True,
    ),
    'karpathy': Benchmark(
        "COCO captions and Flickr30k, Karpathy's splits",
        read_karpathy,
        score_caption_set,
        submit_captions,
        per_sample=captions_per_sample,
        caption=True,
    ),
    'nocaps': Benchmark(
        'NoCaps',
        read_coco,
        score_caption_set,
        submit_captions,
        per_sample=captions_per_sample,
        caption=True,
    ),
}
