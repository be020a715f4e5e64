"""Instruction data: LLaVA's training JSON as a dataset to learn from."""

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

from mmllava.datasets.llava_json import BadSample, count_words, read_rows, to_sample
from mmllava.datasets.transforms import LoadImage
from mmllava.errors import ConfigError, DataError, ImageError, PromptError, unknown_name
from mmllava.registry import DATASETS
from mmllava.structures import EncodedPrompt, EncodedSample

AnnFile = str | Mapping[str, Any]
_KEPT = ('id', 'image', 'conversations', 'caption')  # of a row; the rest is not used


@dataclass(frozen=True)
class Source:
    """One training file: ``weight`` is how often an epoch goes through it."""

    ann_file: str
    img_root: str
    weight: float = 1.0


@DATASETS.register_module()
class InstructDataset(BaseDataset):
    """LLaVA's training JSON (`mmllava.datasets.llava_json`), one file or several mixed.

    A bad sample (an image that is missing or broken, marks that do not match,
    nothing to learn) is named in the log and skipped: the next good one of the
    same modality comes in its place, so that a run that is resumed sees the same.

    Args:
        ann_file: a JSON file, or a list of several: each a path, or
            ``dict(ann_file=, img_root=, weight=)``. An epoch has a file's rows
            ``weight`` times; of 2.5, every row twice and every other one once more.
        img_root: folder that the image paths in the files are below, where a
            file names none of its own.
        pipeline: from ``img_path`` to a packed sample: LoadImage, CLIPResize,
            PackInputs with ``algorithm_keys=['conversations']``.
        max_skipped: bad rows that one process may skip; the next is an error.

    Attributes:
        lengths: words of each sample, negative for text only; for the sampler.
        encoder: encodes each packed sample (`mmllava.models.SampleEncoder`) into its field
            ``encoded``; one that cannot be encoded, or has nothing to learn before the cut, is bad.
            None leaves that to the model. To be set before workers are made.
        rows: number of each sample's row, counted through all files; a row that
            comes several times an epoch has the same number each time.

    Raises:
        ConfigError: a setting cannot work.
        DataError: a file is not as `read_rows` expects; from ``dataset[k]``, more than
            ``max_skipped`` bad rows, or no good one.
    """

    lengths: np.ndarray
    rows: np.ndarray
    one_image_each: bool

    def __init__(
        self,
        ann_file: str | Sequence[AnnFile],
        img_root: str = '',
        pipeline: Sequence[Any] = (),
        max_skipped: int = 100,
        **unknown: Any,
    ) -> None:
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
        """Reads every file; called by mmengine."""
        data, lengths, numbers, total = [], [], [], 0
        for k, source in enumerate(self.sources):
            rows = read_rows(source.ann_file)
            words = [count_words(row) for row in rows]
            for n in _pick(len(rows), source):
                data.append(dict(source=k, number=n, row=_keep(rows[n])))
                lengths.append(words[n])
                numbers.append(total + n)
            total += len(rows)
        self.lengths, self.rows = np.array(lengths, np.int32), np.array(numbers, np.int32)
        images = [d['row'].get('image') for d in data if isinstance(d['row'], dict)]
        self.one_image_each = all(isinstance(image, str) for image in images)
        # Shared, so that the workers of a loader count together.
        self._bad = torch.zeros(total, dtype=torch.uint8).share_memory_()
        return data

    def digest(self) -> str:
        """16 hex digits of what the files hold and how often an epoch goes through each."""
        whole = hashlib.sha256()
        for source in self.sources:
            whole.update(f'{source.weight}\n'.encode())
            with open(source.ann_file, 'rb') as file:
                while part := file.read(1 << 20):
                    whole.update(part)
        return whole.hexdigest()[:16]

    @property
    def num_skipped(self) -> int:
        """Bad rows met so far, by this process and its workers."""
        return int(self._bad.sum())

    def __getitem__(self, index: int) -> dict[str, Any]:
        for candidate in self._candidates(index):
            if self._bad[self.rows[candidate]]:
                continue
            try:
                return self.prepare_data(candidate)
            except BadSample as error:
                self._skip(candidate, error)
        kind = 'text-only samples' if self.lengths[index] < 0 else 'samples with images'
        raise DataError(
            f'all {kind} of {self._names()} are bad, expected some to learn from. '
            'The log names them; check img_root.'
        )

    def prepare_data(self, idx: int) -> dict[str, Any]:
        """One packed sample.

        Raises:
            BadSample: it cannot be learned from.
        """
        info = self.get_data_info(idx)
        sample = to_sample(info['row'], self.sources[info['source']].img_root)
        try:
            packed = self.pipeline(dict(sample, sample_idx=idx))
        except ImageError as error:
            paths = sample['img_path']
            paths = paths if isinstance(paths, list) else [paths]
            kind = 'broken' if all(map(os.path.exists, paths)) else 'missing'
            kind = 'huge' if isinstance(error.__cause__, Image.DecompressionBombError) else kind
            raise BadSample(kind, str(error)) from error
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
                f'its answers lie beyond the first {self.encoder.max_tokens} of its '
                f'{sample.tokens} tokens. Shorten it, or leave it out.',
            )
        return sample.prompt

    def describe(self, index: int) -> str:
        """Locates a sample: file, record number and, if it has one, id."""
        info = self.get_data_info(index)
        row = info['row']
        id_ = f' (id {row["id"]!r})' if isinstance(row, dict) and 'id' in row else ''
        return f'{self.sources[info["source"]].ann_file}[{info["number"]}]{id_}'

    def _candidates(self, index: int) -> Iterator[int]:
        """The sample, then those after it, in a circle, of its modality."""
        index = range(len(self))[index]
        wanted = self.lengths[index] > 0
        for other in chain(range(index, len(self)), range(index)):
            if (self.lengths[other] > 0) == wanted:
                yield other

    def _skip(self, index: int, error: BadSample) -> None:
        self._bad[self.rows[index]] = 1
        count = self.num_skipped
        message = f'{self.describe(index)}: {error}'
        # As an error: mmengine shows no warning of any process but the first.
        print_log(
            f'skipped, bad sample {count} of at most {self.max_skipped}: {message}',
            logger='current',
            level=logging.ERROR,
        )
        if count > self.max_skipped:
            raise DataError(
                f'{count} bad samples, and max_skipped={self.max_skipped} may be skipped. The '
                f'last is {message} `python tools/misc/check_data.py CONFIG` lists all; mend '
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
    """The rows of an epoch: all, so many times, and then evenly spaced ones."""
    whole = int(source.weight)
    rest = round((source.weight - whole) * count)
    picked = [*range(count)] * whole + [n * count // rest for n in range(rest)]
    if not picked:
        raise ConfigError(
            f'weight {source.weight} of {source.ann_file} leaves none of its {count} rows. '
            'Raise it, or leave the file out.'
        )
    return picked


def _keep(row: Any) -> Any:
    return {key: row[key] for key in _KEPT if key in row} if isinstance(row, dict) else row
