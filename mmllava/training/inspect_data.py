"""Measures training samples as the model sees them, and checks a config's data settings."""

import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from mmengine.logging import print_log
from PIL import Image

from mmllava.datasets.instruct import InstructDataset
from mmllava.datasets.llava_json import BadSample
from mmllava.datasets.transforms import CLIPResize, LoadImage
from mmllava.errors import ConfigError, DataError, unknown_name
from mmllava.metrics.captions import SCORERS, match_id
from mmllava.models.llava import Llava
from mmllava.structures import IGNORE_INDEX, IMAGE_TOKEN_INDEX, EncodedPrompt

#: Photos of phones are smaller; decoding a larger image takes a third of a second or more.
LARGE_PIXELS = 25_000_000
#: topic of a note -> its meaning; training uses such a sample all the same
NOTES = {
    'extension': 'the file name extension does not match the image format',
    'large': f'an image has more than {LARGE_PIXELS // 10**6} million pixels; slow to read',
    'long': 'cut at the token limit',
}
_BYTES = re.compile('(?:<0x[0-9A-F]{2}>)+')


@dataclass(frozen=True)
class Examined:
    """Findings about one sample.

    Args:
        index: in the dataset.
        tokens: length, images included; 0 for a bad sample.
        learned: tokens within the limit that have a label.
        images: number of images.
        bad: (fault, message) if it cannot be learned from, with a fault of
            `mmllava.datasets.llava_json.FAULTS`.
        notes: (topic, message) of oddities, with topics of `NOTES`.
    """

    index: int
    tokens: int = 0
    learned: int = 0
    images: int = 0
    bad: tuple[str, str] | None = None
    notes: list[tuple[str, str]] = field(default_factory=list)


def examine(dataset: InstructDataset, index: int) -> Examined:
    """Reads one sample with its images, as training does, and lists its faults and oddities.

    Args:
        dataset: with the pipeline of training, and its encoder.
        index: of the sample.
    """
    try:
        packed = dataset.prepare_data(index)
        sample = dataset.encoder(packed)
    except BadSample as error:
        return Examined(index, bad=(error.fault, str(error)))
    paths = packed['data_samples'].get('img_path', [])
    notes = [n for path in ([paths] if isinstance(paths, str) else paths) for n in _look_at(path)]
    if sample.tokens > sample.limit:
        notes.append(('long', f'it has {sample.tokens} tokens, and is cut at {sample.limit}'))
    return Examined(index, sample.tokens, sample.learned, len(sample.image_lengths), None, notes)


def spell(prompt: EncodedPrompt, lengths: Sequence[int], tokenizer: Any) -> list[tuple[str, bool]]:
    """Splits a prompt into runs of (text, True if learned); an image shows as its length."""
    runs: list[tuple[str, bool]] = []
    images = iter(lengths)
    for id_, label in zip(prompt.input_ids, prompt.labels, strict=True):
        is_image = id_ == IMAGE_TOKEN_INDEX
        text = f'<image: {next(images)} tokens>' if is_image else tokenizer.spell(id_)
        learned = label != IGNORE_INDEX
        if runs and runs[-1][1] == learned:
            text = runs.pop()[0] + text
        runs.append((text, learned))
    return [(_BYTES.sub(_read_bytes, text), learned) for text, learned in runs]


def check_settings(config: Any, dataset: InstructDataset, model: Llava) -> None:
    """Compares settings that stand in two places of a config.

    Args:
        config: the whole training config.
        dataset: built from it.
        model: built from it.

    Raises:
        ConfigError: two places contradict each other, or a sample arrives without
            its conversation.
    """
    _check_pipeline(dataset, model)
    loader = config.train_dataloader
    wanted, found = loader.get('batch_size'), loader.get('sampler', {}).get('batch_size')
    if found not in (None, wanted):
        raise ConfigError(
            f'train_dataloader has batch_size={wanted} and its sampler batch_size={found}; batches '
            'would mix lengths and modalities. Write the same in both.'
        )
    if (
        not dataset.one_image_each
        and loader.get('collate_fn', {}).get('type') != 'mmllava.keep_lists'
    ):
        raise ConfigError(
            'there are samples with several images or none, which mmengine cannot put into one '
            "batch. Set train_dataloader.collate_fn=dict(type='mmllava.keep_lists')."
        )


def check_validation(
    dataset: Any, metrics: Sequence[Any], scores: Iterable[str], model: Any
) -> None:
    """Finds, before the first step, faults that would end a val loop hours later.

    An image that cannot be read is then counted and left out of the scores, as in
    tools/test.py. A metric of another library cannot do that and needs all images.

    Args:
        dataset: of the val loop.
        metrics: of its evaluator.
        scores: names that hooks and schedulers use.
        model: in training.

    Raises:
        ConfigError: an image size of another model, or a score that no metric computes.
        DataError: references or images are missing.
    """
    own = all(type(metric).__module__.startswith('mmllava.') for metric in metrics)
    for step in getattr(getattr(dataset, 'pipeline', None), 'transforms', []):
        if isinstance(step, CLIPResize):
            _check_resize(step, model, 'in the val loop, ')
        elif isinstance(step, LoadImage) and own:
            step.on_error = 'record'
        elif own and hasattr(step, 'meta_keys'):  # PackInputs
            step.meta_keys = (*step.meta_keys, 'error')
    names = [_score_names(metric) for metric in metrics]
    for score in scores:
        if all(names) and score not in {*chain(*names)}:
            raise unknown_name('score of the val loop', score, {*chain(*names)})
    get = getattr(dataset, 'get_data_info', None)
    infos = [get(k) for k in range(len(dataset))] if get else []
    for metric in metrics:
        references = getattr(metric, 'references', None)  # reads its file
        if isinstance(references, Mapping):
            for info in infos:
                match_id(info.get('image_id'), references)
    _check_images(infos, own)


def _score_names(metric: Any) -> list[str]:
    """Lists the scores of a metric; empty if they are known only after a pass over the data."""
    scorers = getattr(metric, 'metrics', ())
    if not scorers or not SCORERS.keys() >= set(scorers):
        return []
    head = f'{metric.prefix}/' if metric.prefix else ''
    return [head + name for scorer in scorers for name in SCORERS[scorer][0]]


def _check_images(infos: Sequence[Mapping[str, Any]], own: bool) -> None:
    paths = {str(info['img_path']) for info in infos if info.get('img_path')}
    missing = sorted(path for path in paths if '://' not in path and not os.path.exists(path))
    if not missing:
        return
    found = f'{len(missing)} of {len(paths)} images of the val loop are missing, as {missing[0]}.'
    if len(missing) == len(paths) or not own:
        raise DataError(f'{found} Check data_root and data_prefix of val_dataloader.dataset.')
    print_log(f'{found} They will be counted and not scored.', 'current', logging.WARNING)


def _check_pipeline(dataset: InstructDataset, model: Llava) -> None:
    for step in dataset.pipeline.transforms:
        if isinstance(step, CLIPResize):
            _check_resize(step, model)
        if 'conversations' not in getattr(step, 'algorithm_keys', ['conversations']):
            raise ConfigError(
                'the pipeline drops the conversations. Give PackInputs '
                "algorithm_keys=['conversations']."
            )


def _check_resize(step: CLIPResize, model: Llava, where: str = '') -> None:
    found = dict(size=step.size, image_grid_pinpoints=step.image_grid_pinpoints)
    wanted = dict(
        size=model.vision_tower.image_size, image_grid_pinpoints=model.image_grid_pinpoints
    )
    for name in found:
        if found[name] != wanted[name]:
            raise ConfigError(
                f'{where}CLIPResize has {name}={found[name]}, and the model takes '
                f'{wanted[name]}. Write the same in both.'
            )


def _look_at(path: str) -> list[tuple[str, str]]:
    """Lists oddities of a decodable image; reads only its header."""
    with Image.open(path) as image:
        format_, (width, height) = image.format, image.size
    found = []
    suffix = path[path.rfind('.') :].lower() if '.' in path.rpartition('/')[2] else ''
    named = Image.registered_extensions().get(suffix)
    # MPO: a phone's JPEG with a preview
    if named != format_ and (named, format_) != ('JPEG', 'MPO'):
        found.append(
            ('extension', f'{path} is {format_}, and its name ends in {suffix or "nothing"}')
        )
    if width * height > LARGE_PIXELS:
        found.append(('large', f'{path} has {width}x{height} pixels'))
    return found


def _read_bytes(run: re.Match) -> str:
    return bytes(int(b, 16) for b in re.findall('<0x(..)>', run[0])).decode(errors='replace')
