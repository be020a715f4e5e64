"""Reads COCO caption files and computes all caption scores."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mmllava import io
from mmllava.errors import DataError, unknown_name
from mmllava.metrics.bleu import bleu
from mmllava.metrics.cider import cider
from mmllava.metrics.java_metrics import meteor, spice
from mmllava.metrics.ptb import tokenize_all
from mmllava.metrics.rouge import rouge_l

ImageId = int | str

#: scorer -> (names of its results, function of tokenized references and captions)
SCORERS: dict[str, tuple[tuple[str, ...], Callable]] = {
    'Bleu': (('Bleu_1', 'Bleu_2', 'Bleu_3', 'Bleu_4'), bleu),
    'ROUGE_L': (('ROUGE_L',), rouge_l),
    'CIDEr': (('CIDEr',), cider),
    'METEOR': (('METEOR',), meteor),
    'SPICE': (('SPICE',), spice),
}
DEFAULT_METRICS = ('Bleu', 'ROUGE_L', 'CIDEr')


@dataclass(frozen=True)
class CaptionScores:
    """Scores in pycocoevalcap's scale: CIDEr in 0..10, all others in 0..1.

    ``failed`` gives the reason for each scorer that could not run; the others are complete.
    """

    corpus: dict[str, float]
    per_image: dict[ImageId, dict[str, float]]
    failed: dict[str, str]


def score_captions(
    references: Mapping[ImageId, Sequence[str]],
    captions: Mapping[ImageId, str],
    metrics: Sequence[str] = DEFAULT_METRICS,
) -> CaptionScores:
    """Scores captions over the images that have one, as pycocoevalcap does.

    Args:
        references: for each image at least one reference caption; not tokenized.
        captions: one caption for each image to score; not tokenized.
        metrics: names from ``SCORERS``.

    Raises:
        ConfigError: a metric has an unknown name.
        DataError: there is nothing to score, a caption is not a string, or an
            image has no references.
    """
    check_metrics(metrics)
    given, captions = captions, {}
    for key, caption in given.items():
        match = match_id(key, references)
        if match in captions:
            raise DataError(
                f'image {match!r} has a second caption, as {key!r}. Keep one per image.'
            )
        captions[match] = caption
    if not captions:
        raise DataError(
            'there are no captions to score; expected one or more. Name a file of predictions.'
        )
    for key, caption in captions.items():
        _check_text(caption, f'the caption of image {key!r}')
        if not references[key]:
            raise DataError(f'image {key!r} has a caption but no reference. Remove that image.')
    ids = [key for key in references if key in captions]  # in pycocoevalcap's order
    flat = iter(tokenize_all([text for key in ids for text in references[key]]))
    tokenized = [list(islice(flat, len(references[key]))) for key in ids]
    candidates = tokenize_all([captions[key] for key in ids])
    corpus: dict[str, float] = {}
    per_image: dict[ImageId, dict[str, float]] = {key: {} for key in ids}
    failed: dict[str, str] = {}
    for metric in metrics:
        names, scorer = SCORERS[metric]
        try:
            total, each = scorer(tokenized, candidates)
        except Exception as error:  # reported below; the other scores must not be lost with it
            failed[metric] = f'{error}' or type(error).__name__
            continue
        several = len(names) > 1
        corpus.update(zip(names, total if several else [total], strict=True))
        for key, scores in zip(ids, each, strict=True):
            per_image[key].update(zip(names, scores if several else [scores], strict=True))
    return CaptionScores(corpus, per_image, failed)


def check_metrics(metrics: Sequence[str]) -> None:
    """Raises ConfigError, with the closest names, if a metric is unknown."""
    for metric in metrics:
        if metric not in SCORERS:
            raise unknown_name('caption metric', metric, SCORERS)


def match_id(image_id: ImageId, references: Mapping[ImageId, Sequence[str]]) -> ImageId:
    """Finds an image among the references; '000000000042' and 42 are the same image.

    Raises:
        DataError: no image among the references has that id.
    """
    if image_id in references:
        return image_id
    if isinstance(image_id, str) and image_id.isdecimal() and int(image_id) in references:
        return int(image_id)
    if isinstance(image_id, int) and str(image_id) in references:
        return str(image_id)
    first = ', '.join(repr(key) for key in islice(references, 3))
    raise DataError(
        f'image {image_id!r} has a caption, but is not among the {len(references)} images with '
        f'references ({first}, ...). Do predictions and references belong to the same split?'
    )


def read_references(path: str | Path) -> dict[ImageId, list[str]]:
    """Reads a COCO caption annotation file: image id -> its references, in the file's order.

    Raises:
        DataError: the file is missing, is not JSON, or has no ``annotations`` with an
            ``image_id`` and a ``caption`` each.
    """
    content = io.read_json(path, (dict, list), 'a COCO caption file', strict=False)
    annotations = content.get('annotations') if isinstance(content, dict) else None
    if not isinstance(annotations, list) or not annotations:
        raise DataError(
            f'{path} has no list "annotations"; expected a COCO caption file. '
            'Are references and predictions swapped?'
        )
    images = content.get('images', [])
    if not isinstance(images, list) or not all(isinstance(i, dict) and 'id' in i for i in images):
        raise DataError(
            f'{path}: "images" must be a list of objects with an "id". Correct the file.'
        )
    references: dict[ImageId, list[str]] = {
        _check_id(image['id'], f'{path}: images[{n}]'): [] for n, image in enumerate(images)
    }
    for where, key, caption in _records(path, annotations, 'annotations'):
        _check_text(caption, where)
        references.setdefault(key, []).append(caption)
    return references


def read_captions(path: str | Path) -> dict[ImageId, str]:
    """Reads predictions in COCO's result format: a list of {image_id, caption}.

    Raises:
        DataError: the file is missing, is not JSON, is not such a list, has no
            captions, or has two for an image.
    """
    content = io.read_json(path, (dict, list), "a list in COCO's result format", strict=False)
    if not isinstance(content, list):
        raise DataError(
            f'{path} holds {io.type_name(content)}; expected a list of '
            '{"image_id": ..., "caption": ...}. Are references and predictions swapped?'
        )
    captions: dict[ImageId, str] = {}
    for where, key, caption in _records(path, content, ''):
        _check_text(caption, where)
        if key in captions:
            raise DataError(f'{where}: image {key!r} has a second caption. Keep one per image.')
        captions[key] = caption
    if not captions:
        raise DataError(
            f'{path} holds no captions; expected one or more. Name a file of predictions.'
        )
    return captions


def _records(path: str | Path, records: list, name: str) -> list[tuple[str, ImageId, object]]:
    """Lists (place in the file, image id, caption) of each record."""
    checked = []
    for index, record in enumerate(records):
        where = f'{path}: {name}[{index}]'
        if not isinstance(record, dict) or not {'image_id', 'caption'} <= record.keys():
            raise DataError(
                f'{where} is {str(record)[:80]}; expected an object with "image_id" and "caption". '
                'Correct that record.'
            )
        checked.append((where, _check_id(record['image_id'], where), record['caption']))
    return checked


def _check_id(image_id: object, where: str) -> ImageId:
    if isinstance(image_id, bool) or not isinstance(image_id, int | str):
        raise DataError(
            f'{where} has the image id {image_id!r}; expected a number or a string. Correct it.'
        )
    return image_id


def _check_text(caption: object, where: str) -> None:
    if not isinstance(caption, str):
        raise DataError(
            f'{where} is {caption!r}; expected a string. Leave out images that have no caption.'
        )
