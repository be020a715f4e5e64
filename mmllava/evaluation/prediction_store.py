"""Stores predictions as they are made, so that a killed run can resume."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmllava.errors import DataError
from mmllava.io import dump_json, parse_json

SampleId = int | str
#: fields that may identify a sample, in order of preference
ID_FIELDS = ('sample_id', 'question_id', 'image_id', 'img_path')


class PredictionFile:
    """Appends and reads the predictions of one run: a JSON line per sample, with its id.

    Each process of a run appends to a file of its own, ``predictions-RANK.jsonl``,
    and reads those of all.

    Args:
        folder: work folder of the run.
        rank: number of this process.
    """

    def __init__(self, folder: str | Path, rank: int = 0) -> None:
        self.folder = Path(folder)
        self.file = self.folder / f'predictions-{rank}.jsonl'

    def read(self) -> dict[SampleId, dict[str, Any]]:
        """Reads the records of all processes, by id.

        A later record replaces an earlier one, but a failure never replaces an answer. A last
        line that a kill cut short is dropped.

        Raises:
            DataError: another line is not a record.
        """
        records: dict[SampleId, dict[str, Any]] = {}
        for file in sorted(self.folder.glob('predictions-*.jsonl')):
            *lines, rest = file.read_bytes().split(b'\n')
            for number, line in enumerate(lines, 1):
                try:
                    record = parse_json(line, 'the line', strict=False)
                    key, failed = record['id'], record.get('error')
                    old = records.get(key)
                except (DataError, KeyError, TypeError, AttributeError) as error:
                    reason = error.__cause__ or error
                    raise DataError(
                        f'line {number} of {file} is not a prediction ({reason}). Remove the file '
                        'to start over, or that line to predict its sample again.'
                    ) from error
                if not failed or old is None or old.get('error'):
                    records[key] = record
            if rest and file == self.file:
                os.truncate(file, file.stat().st_size - len(rest))
        return records

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Appends records, one line each, in one write."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = ''.join(dump_json(record) + '\n' for record in records)
        with open(self.file, 'a', encoding='utf-8', newline='\n') as handle:
            handle.write(lines)


def sample_ids(infos: Sequence[Mapping[str, Any]]) -> list[SampleId]:
    """Returns a unique id for each sample of a dataset, independent of their order.

    The ids are the values of the first of ``ID_FIELDS`` that every sample has and no two
    samples share; the samples' indices where there is no such field.
    """
    for field in ID_FIELDS:
        ids = [to_python(info.get(field)) for info in infos]
        if all(isinstance(i, (int, str)) for i in ids) and len(set(ids)) == len(ids):
            return ids
    return list(range(len(infos)))


def to_python(value: Any) -> Any:
    """Converts a scalar of torch or numpy to Python's; returns any other value as it is."""
    return value.item() if hasattr(value, 'item') else value


def file_signature(path: Any) -> str | None:
    """Returns a file's path, size and modification time; the path alone if there is no file.

    Args:
        path: of a file, a list of them, or None.
    """
    if not isinstance(path, (str, Path)):
        return None if path is None else ' '.join(str(file_signature(one)) for one in path)
    try:
        stat = os.stat(path)
    except (OSError, ValueError):  # ValueError: a NUL or a lone surrogate
        return str(path)
    return f'{path} {stat.st_size} {stat.st_mtime_ns}'
