"""Pictures to be described: COCO in its releases and Karpathy's splits, NoCaps, Flickr30k.

A picture is asked once, however many people described it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmllava.benchmarks.files import ID, below, matching, once, read_json, records, take, unique
from mmllava.benchmarks.types import Answers, Benchmark, Item, Scores
from mmllava.errors import DataError, unknown_name
from mmllava.metrics.captions import score_captions


def read_coco(annotations: Path, images: Path, *, image_name: str | None = None) -> list[Item]:
    """COCO's own layout, which NoCaps has too.

    Args:
        annotations: ``captions_val2014.json``, ``nocaps_val_4500_captions.json`` and the like;
            a test split's has ``images`` alone.
        images: folder of the pictures.
        image_name: a picture's file, from its number; None is ``file_name``.
    """
    content = read_json(annotations, dict)
    rows = records(annotations, content, 'images')
    ids = [(where, take(row, where, id=ID)[0]) for where, row in rows]
    once(ids, 'id')
    known: dict[Any, list[str]] = {id_: [] for _, id_ in ids}
    notes = content.get('annotations')
    if notes is not None:
        for where, row in records(annotations, content, 'annotations'):
            image_id, caption = take(row, where, image_id=ID, caption=str)
            matching(known, image_id, where, f'{annotations}: images', 'image_id').append(caption)
    items = []
    for where, row in rows:
        id_, name = take(row, where, id=ID, file_name=str)
        if notes is not None and not known[id_]:
            raise DataError(
                f'{where} (id {id_!r}) has no caption in "annotations". Take the picture out, or '
                'fetch the file again.'
            )
        name = image_name.format(id_) if image_name else name
        domain = row.get('domain')
        groups = dict(domain=domain) if isinstance(domain, str) else {}
        own = known[id_] if notes is not None else None
        item = Item(id_, {}, below(images, name, where), id_, own, groups)
        items.append((where, item))
    return unique(items)


def read_karpathy(annotations: Path, images: Path, *, split: str = 'test') -> list[Item]:
    """Karpathy's splits: ``dataset_coco.json`` or ``dataset_flickr30k.json``.

    Args:
        annotations: that file.
        images: what ``filepath`` and ``filename`` are below.
        split: ``train``, ``restval``, ``val`` or ``test``.
    """
    rows = records(annotations, read_json(annotations, dict), 'images')
    splits = {row['split'] for where, row in rows if take(row, where, split=str)}
    if split not in splits:
        raise unknown_name(f'split of {annotations}', split, splits)
    items = []
    for where, row in rows:
        if row['split'] != split:
            continue
        name, sentences = take(row, where, filename=str, sentences=list)
        captions = [take(s, f'{where} sentences[{n}]', raw=str)[0] for n, s in enumerate(sentences)]
        if not captions:
            raise DataError(f'{where} has no sentences. Take the picture out.')
        key = 'cocoid' if 'cocoid' in row else 'imgid'
        (id_,) = take(row, where, **{key: ID})
        folder = row.get('filepath', '')
        item = Item(id_, {}, below(images, f'{folder}/{name}'.lstrip('/'), where), id_, captions)
        items.append((where, item))
    return unique(items)


def score_caption_set(items: Sequence[Item], answers: Answers) -> Scores:
    """BLEU, ROUGE-L and CIDEr in pycocoevalcap's scale, of NoCaps also the CIDEr of each domain.

    Pictures without an answer are left out. A domain is scored by itself, with the word
    counts of its own pictures.
    """
    pairs = [(i, a) for i, a in zip(items, answers, strict=True) if a is not None]
    scores = score_captions({i.id: i.truth for i, _ in pairs}, {i.id: a for i, a in pairs}).corpus
    for domain in dict.fromkeys(i.groups['domain'] for i, _ in pairs if i.groups):
        own = [(i, a) for i, a in pairs if i.groups.get('domain') == domain]
        found = score_captions(
            {i.id: i.truth for i, _ in own}, {i.id: a for i, a in own}, ['CIDEr']
        )
        scores[f'{domain}/CIDEr'] = found.corpus['CIDEr']
    return scores


def captions_per_sample(items: Sequence[Item], answers: Answers) -> list[Scores]:
    """BLEU, ROUGE-L and CIDEr of each picture among the others; nothing without an answer."""
    pairs = [(i, a) for i, a in zip(items, answers, strict=True) if a is not None]
    found = score_captions({i.id: i.truth for i, _ in pairs}, {i.id: a for i, a in pairs})
    return [found.per_image.get(item.id, {}) for item in items]


def submit_captions(items: Sequence[Item], answers: Answers) -> dict[str, Any]:
    """COCO's results format, which its server and that of NoCaps take."""
    rows = [
        dict(image_id=item.id, caption=answer)
        for item, answer in zip(items, answers, strict=True)
        if answer is not None
    ]
    return {'captions_results.json': rows}


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
