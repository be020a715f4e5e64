"""COCO caption files and captions in, scores out."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

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

    ``failed`` says for each scorer that could not run why; the others are all there.
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
        references: texts written by people, for each image at least one.
        captions: one text for each image to score; not tokenized.
        metrics: names from ``SCORERS``.

    Raises:
        ConfigError: a metric has an unknown name.
        DataError: there is nothing to score, a caption is no text, or an image
            has no references.
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
        raise DataError('there are no captions to score; expected one or more. Give predictions.')
    for key, caption in captions.items():
        _check_text(caption, f'the caption of image {key!r}')
        if not references[key]:
            raise DataError(f'image {key!r} has a caption but no reference. Leave that image out.')
    ids = [key for key in references if key in captions]  # the order of pycocoevalcap
    words = iter(tokenize_all([text for key in ids for text in references[key]]))
    own = [list(islice(words, len(references[key]))) for key in ids]
    said = tokenize_all([captions[key] for key in ids])
    corpus: dict[str, float] = {}
    per_image: dict[ImageId, dict[str, float]] = {key: {} for key in ids}
    failed: dict[str, str] = {}
    for metric in metrics:
        names, scorer = SCORERS[metric]
        try:
            total, each = scorer(own, said)
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
        DataError: no reference file entry has that id.
    """
    if image_id in references:
        return image_id
    if isinstance(image_id, str) and image_id.isdecimal() and int(image_id) in references:
        return int(image_id)
    if isinstance(image_id, int) and str(image_id) in references:
        return str(image_id)
    some = ', '.join(repr(key) for key in islice(references, 3))
    raise DataError(
        f'image {image_id!r} has a caption, but is not among the {len(references)} images with '
        f'references ({some}, ...). Do predictions and references belong to the same split?'
    )


def read_references(path: str | Path) -> dict[ImageId, list[str]]:
    """Reads a COCO caption annotation file: image id -> its references, in the file's order.

    Raises:
        DataError: the file is missing, is no JSON, or does not hold ``annotations``
            with an ``image_id`` and a ``caption`` each.
    """
    content = _read_json(path)
    rows = content.get('annotations') if isinstance(content, dict) else None
    if not isinstance(rows, list) or not rows:
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
    for where, key, caption in _rows(path, rows, 'annotations'):
        _check_text(caption, where)
        references.setdefault(key, []).append(caption)
    return references


def read_captions(path: str | Path) -> dict[ImageId, str]:
    """Reads predictions in COCO's result format: a list of {image_id, caption}.

    Raises:
        DataError: the file is missing, is no JSON, is no such list, has no
            captions, or gives an image two.
    """
    content = _read_json(path)
    if not isinstance(content, list):
        raise DataError(
            f'{path} holds a JSON {type(content).__name__}; expected a list of '
            '{"image_id": ..., "caption": ...}. Are references and predictions swapped?'
        )
    captions: dict[ImageId, str] = {}
    for where, key, caption in _rows(path, content, ''):
        _check_text(caption, where)
        if key in captions:
            raise DataError(f'{where}: image {key!r} has a second caption. Keep one per image.')
        captions[key] = caption
    if not captions:
        raise DataError(f'{path} holds no captions; expected one or more. Give predictions.')
    return captions


def _read_json(path: str | Path) -> object:
    try:
        return json.loads(Path(path).read_text(encoding='utf-8'))
    except OSError as error:
        raise DataError(f'cannot read {path}: {error.strerror}. Check the path.') from error
    except ValueError as error:
        raise DataError(f'{path} is not JSON in UTF-8: {error}. Was it cut short?') from error


def _rows(path: str | Path, rows: list, name: str) -> list[tuple[str, ImageId, object]]:
    """(where it stands, image id, caption) of each row."""
    found = []
    for index, row in enumerate(rows):
        where = f'{path}: {name}[{index}]'
        if not isinstance(row, dict) or not {'image_id', 'caption'} <= row.keys():
            raise DataError(f'{where} needs "image_id" and "caption", found {str(row)[:80]}.')
        found.append((where, _check_id(row['image_id'], where), row['caption']))
    return found


def _check_id(image_id: object, where: str) -> ImageId:
    if isinstance(image_id, bool) or not isinstance(image_id, int | str):
        raise DataError(f'{where}: an image id is a number or a text, found {image_id!r}.')
    return image_id


def _check_text(caption: object, where: str) -> None:
    if not isinstance(caption, str):
        raise DataError(
            f'{where} is {caption!r}; expected a text. Leave out pictures that have no caption.'
        )
