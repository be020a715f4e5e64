"""LLaVA's training JSON as a dataset, with unreadable samples skipped and encoding in workers."""

import hashlib
import inspect
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from PIL import Image

from mmllava.datasets.llava_json import BadSample, count_words, read_annotations, to_sample
from mmllava.datasets.transforms import LoadImage
from mmllava.errors import ConfigError, DataError, ImageError, PromptError, unknown_name
from mmllava.registry import DATASETS
from mmllava.structures import EncodedPrompt, EncodedSample

AnnFile = str | Mapping[str, Any]
_KEPT = ('id', 'image', 'conversations', 'caption')  # keys of a record; others are dropped


@dataclass(frozen=True)
class Source:
    """A training file; an epoch goes through it ``weight`` times."""

    ann_file: str
    img_root: str
    weight: float = 1.0


@DATASETS.register_module()
class InstructDataset(BaseDataset):
    """LLaVA's training JSON (`mmllava.datasets.llava_json`), one file or a mixture of several.

    A bad sample (a missing or broken image, ``<image>`` marks that do not match, nothing to
    learn) is logged and skipped. The next good sample of the same modality takes its place, so
    that a resumed run sees the same data.

    Args:
        ann_file: a JSON file, or a list of files: each a path, or
            ``dict(ann_file=, img_root=, weight=)``. An epoch has the records of a file
            ``weight`` times; with 2.5, each record twice and every second one once more.
        img_root: folder of the images, for files that do not name their own.
        pipeline: from ``img_path`` to a packed sample: LoadImage, CLIPResize,
            PackInputs with ``algorithm_keys=['conversations']``.
        max_skipped: bad records that one process may skip; the next one is an error.

    Attributes:
        lengths: words of each sample, negative for text only; for the sampler.
        record_ids: index of each sample's record, counted through all files; a record that an
            epoch has several times keeps its index.
        one_image_each: True if every record has exactly one image.
        encoder: encodes each packed sample into its field ``encoded`` (usually
            `mmllava.models.SampleEncoder`); a sample that cannot be encoded, or whose answers are
            all cut off, is bad. With None the model encodes. Set it before workers start.

    Raises:
        ConfigError: a setting cannot work.
        DataError: a file is not as `read_annotations` expects; from ``dataset[k]``, more than
            ``max_skipped`` bad records, or no good sample.
    """

    lengths: np.ndarray
    record_ids: np.ndarray
    one_image_each: bool

    def __init__(
        self,
        ann_file: str | Sequence[AnnFile],
        img_root: str = '',
        pipeline: Sequence[Any] = (),
        max_skipped: int = 100,
        **unknown: Any,
    ) -> None:
        if 'template' in unknown:
            raise ConfigError(
                f'InstructDataset has template={unknown["template"]!r}, a setting of earlier '
                'versions; expected none, since prompts are written with the template of the '
                'model. Leave it out, or set model.template.'
            )
        for name in unknown:
            known = set(inspect.signature(InstructDataset).parameters) - {'unknown'}
            raise unknown_name('setting of InstructDataset', name, known)
        if max_skipped < 0:
            raise ConfigError(f'max_skipped is {max_skipped}, expected 0 or more bad samples.')
        files = [ann_file] if isinstance(ann_file, str) else list(ann_file)
        self.sources = [_source(file, img_root) for file in files]
        self.max_skipped = max_skipped
        self.encoder: Callable[[dict[str, Any]], EncodedSample] | None = None
        super().__init__(pipeline=list(pipeline))
        for step in self.pipeline.transforms:
            if isinstance(step, LoadImage) and step.on_error == 'record':
                raise ConfigError(
                    "LoadImage has on_error='record', which would train on black images. "
                    'Leave it out: a bad sample is skipped and named.'
                )

    def load_data_list(self) -> list[dict]:
        """Reads every file; mmengine calls this."""
        data, lengths, ids, total = [], [], [], 0
        for k, source in enumerate(self.sources):
            records = read_annotations(source.ann_file)
            words = [count_words(record) for record in records]
            for n in _pick(len(records), source):
                data.append(dict(source=k, number=n, record=_keep(records[n])))
                lengths.append(words[n])
                ids.append(total + n)
            total += len(records)
        self.lengths, self.record_ids = np.array(lengths, np.int32), np.array(ids, np.int32)
        images = [d['record'].get('image') for d in data if isinstance(d['record'], dict)]
        self.one_image_each = all(isinstance(image, str) for image in images)
        # Shared, so that the workers of a loader count together.
        self._bad = torch.zeros(total, dtype=torch.uint8).share_memory_()
        return data

    def digest(self) -> str:
        """Computes a hash, 16 hex digits, of the files' content and weights."""
        whole = hashlib.sha256()
        for source in self.sources:
            whole.update(f'{source.weight}\n'.encode())
            with open(source.ann_file, 'rb') as file:
                while part := file.read(1 << 20):
                    whole.update(part)
        return whole.hexdigest()[:16]

    @property
    def num_skipped(self) -> int:
        """Number of bad records found so far, by this process and its workers."""
        return int(self._bad.sum())

    def __getitem__(self, index: int) -> dict[str, Any]:
        for candidate in self._candidates(index):
            if self._bad[self.record_ids[candidate]]:
                continue
            try:
                return self.prepare_data(candidate)
            except BadSample as error:
                self._skip(candidate, error)
        modality = 'text-only samples' if self.lengths[index] < 0 else 'samples with images'
        raise DataError(
            f'all {modality} of {self._names()} are bad, expected some to learn from. '
            'The log names them; check img_root.'
        )

    def prepare_data(self, idx: int) -> dict[str, Any]:
        """Reads, packs and encodes one sample.

        Raises:
            BadSample: it cannot be learned from.
        """
        info = self.get_data_info(idx)
        sample = to_sample(info['record'], self.sources[info['source']].img_root)
        try:
            packed = self.pipeline(dict(sample, sample_idx=idx))
        except ImageError as error:
            paths = sample['img_path']
            paths = paths if isinstance(paths, list) else [paths]
            fault = 'broken' if all(map(os.path.exists, paths)) else 'missing'
            if isinstance(error.__cause__, Image.DecompressionBombError):
                fault = 'huge'
            raise BadSample(fault, str(error)) from error
        if self.encoder is not None:
            packed['data_samples'].set_field(self._encode(packed), 'encoded')
        return packed

    def _encode(self, packed: dict[str, Any]) -> EncodedPrompt:
        """Encodes a packed sample.

        Raises:
            BadSample: it cannot be encoded, or no token with a label is left of it.
        """
        try:
            sample = self.encoder(packed)
        except PromptError as error:
            raise BadSample('format', str(error)) from error
        if not sample.learned:
            raise BadSample(
                'empty',
                f'its answers lie beyond the first {sample.limit} of its {sample.tokens} tokens. '
                'Shorten it, or leave it out.',
            )
        return sample.prompt

    def describe(self, index: int) -> str:
        """Locates a sample: file, record number and, if it has one, id."""
        info = self.get_data_info(index)
        record = info['record']
        id_ = f' (id {record["id"]!r})' if isinstance(record, dict) and 'id' in record else ''
        return f'{self.sources[info["source"]].ann_file}[{info["number"]}]{id_}'

    def _candidates(self, index: int) -> Iterator[int]:
        """Yields the sample, then the later and the earlier ones of its modality."""
        index = range(len(self))[index]
        wanted = self.lengths[index] > 0
        for other in chain(range(index, len(self)), range(index)):
            if (self.lengths[other] > 0) == wanted:
                yield other

    def _skip(self, index: int, error: BadSample) -> None:
        """Counts and logs a bad sample.

        Raises:
            DataError: it is one more than ``max_skipped``.
        """
        self._bad[self.record_ids[index]] = 1
        count = self.num_skipped
        reason = f'{self.describe(index)}: {error}'
        # As an error: mmengine logs the warnings of the first process alone.
        print_log(
            f'skipped, bad sample {count} of at most {self.max_skipped}: {reason}',
            logger='current',
            level=logging.ERROR,
        )
        if count > self.max_skipped:
            raise DataError(
                f'{count} bad samples, and max_skipped={self.max_skipped} may be skipped. The '
                f'last is {reason} `python tools/misc/check_data.py CONFIG` lists all; correct '
                'them, or raise max_skipped.'
            ) from error

    def _names(self) -> str:
        return ', '.join(source.ann_file for source in self.sources)


def _source(file: AnnFile, img_root: str) -> Source:
    settings = dict(ann_file=file) if isinstance(file, str) else dict(file)
    for name in settings:
        if name not in Source.__dataclass_fields__:
            raise unknown_name('setting of an ann_file', name, Source.__dataclass_fields__)
    if not isinstance(settings.get('ann_file'), str):
        raise ConfigError(
            f'ann_file is {file!r}, expected a path or dict(ann_file=PATH, img_root=, weight=).'
        )
    source = Source(**{'img_root': img_root, **settings})
    if not source.weight > 0:
        raise ConfigError(
            f'the weight of {source.ann_file} is {source.weight}, expected more than 0. '
            'Leave out a file that is not to be used.'
        )
    return source


def _pick(count: int, source: Source) -> list[int]:
    """Lists the records of an epoch: all of them, repeated, then evenly spaced ones."""
    whole = int(source.weight)
    rest = round((source.weight - whole) * count)
    picked = [*range(count)] * whole + [n * count // rest for n in range(rest)]
    if not picked:
        raise ConfigError(
            f'weight {source.weight} of {source.ann_file} leaves none of its {count} records. '
            'Raise it, or leave the file out.'
        )
    return picked


def _keep(record: Any) -> Any:
    return {k: record[k] for k in _KEPT if k in record} if isinstance(record, dict) else record
