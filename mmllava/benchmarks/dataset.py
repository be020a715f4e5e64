"""A benchmark as a dataset of mmengine: one sample for each question, or image to caption."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Formatter
from typing import Any

from mmengine.dataset import BaseDataset

from mmllava.benchmarks.protocols import get_protocol
from mmllava.benchmarks.registry import read
from mmllava.benchmarks.types import Item
from mmllava.errors import ConfigError, unknown_name
from mmllava.registry import DATASETS


@DATASETS.register_module()
class BenchmarkDataset(BaseDataset):
    """Yields the questions of a benchmark, formatted by a preset.

    Args:
        benchmark: name in `mmllava.benchmarks.registry`.
        data_root: folder that the paths in ``files`` are relative to.
        files: role -> path; the benchmark's reader names the roles.
        settings: keyword arguments of that reader, such as ``split``.
        preset: name in `mmllava.benchmarks.protocols`.
        indices: number of samples to take from the start, or the indices to take.
        pipeline: from ``img_path`` to a packed sample: LoadImage, CLIPResize, PackInputs
            with ``question``.

    Attributes:
        items: one for each sample.
        unasked: items that only the submission file has.
        paths: annotation files that were read.

    Raises:
        ConfigError: a name or setting is unknown.
        DataError: a file is not in its format.
    """

    def __init__(
        self,
        benchmark: str,
        files: Mapping[str, str],
        data_root: str = '',
        settings: Mapping[str, Any] | None = None,
        preset: str = 'llava',
        indices: int | Sequence[int] | None = None,
        pipeline: Sequence[Any] = (),
        **unknown: Any,
    ) -> None:
        for name in unknown:
            known = set(inspect.signature(BenchmarkDataset).parameters) - {'unknown'}
            raise unknown_name('setting of BenchmarkDataset', name, known)
        self.benchmark, self.preset = benchmark, preset
        self.protocol = get_protocol(benchmark, preset)
        items = read(benchmark, data_root, files, settings or {})
        self.items = _select([item for item in items if item.asked], indices)
        self.unasked = [] if indices is not None else [i for i in items if not i.asked]
        self._check_fields()
        paths = [Path(data_root, path) for path in files.values() if path is not None]
        self.paths = [str(path) for path in paths if path.is_file()]
        super().__init__(pipeline=list(pipeline), serialize_data=False)

    @property
    def metainfo(self) -> dict[str, Any]:
        """Returns what the metric needs: the benchmark and its items, not copied."""
        return dict(benchmark=self.benchmark, items=self.items, unasked=self.unasked)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Returns a number for each item; called by mmengine."""
        return [dict(number=number) for number in range(len(self.items))]

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Returns the input of the pipeline; ``img_path`` is None without an image."""
        item = self.items[idx]
        info = dict(
            sample_idx=idx,
            question_id=item.id,
            image_id=item.image_id,
            question=self.ask(item),
            img_path=item.image if isinstance(item.image, str) else None,
        )
        return dict(info, img=item.image) if isinstance(item.image, bytes) else info

    def prepare_data(self, idx: int) -> Any:
        """Runs the pipeline on one sample."""
        info = self.get_data_info(idx)
        if self.items[idx].image is None:
            info['img_path'] = []  # LoadImage: no image
        return self.pipeline(info)

    def _check_fields(self) -> None:
        """Raises ConfigError if the preset uses a field that the files do not have."""
        for _, name, _, _ in Formatter().parse(self.protocol.text):
            if name and name not in self.items[0].fields:
                raise ConfigError(
                    f'preset {self.preset} of {self.benchmark} uses {{{name}}}, which the files do '
                    f'not have. Add the file that has it to "files" (docs/datasets.md), or '
                    'choose another preset.'
                )

    def ask(self, item: Item) -> str:
        """Formats the question of an item; '' if the model's own preset asks."""
        fields = dict(item.fields)
        if self.protocol.capitalize:
            fields['question'] = fields['question'].capitalize()
        return self.protocol.text.format_map(fields)


def _select(items: list[Item], indices: int | Sequence[int] | None) -> list[Item]:
    if indices is None:
        return items
    chosen = items[:indices] if isinstance(indices, int) else [items[k] for k in indices]
    if not chosen:
        raise ConfigError(f'indices={indices!r} leaves no sample; expected one or more.')
    return chosen
