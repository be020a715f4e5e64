"""Predictions on disk, appended as they come, so that a killed run goes on."""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmllava.errors import DataError

SampleId = int | str
#: What may tell the samples of a set apart, the first that does is taken.
ID_FIELDS = ('sample_id', 'question_id', 'image_id', 'img_path')
_HALF = re.compile('[\ud800-\udfff]')  # of a character; JSON can hold one, UTF-8 cannot


class PredictionFile:
    """The predictions of one run: a JSON line for each sample, under its id.

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
        """Records by id; a later one replaces an earlier one, but a failure no answer.

        A last line that a kill cut short is passed over.

        Raises:
            DataError: another line is not a record.
        """
        records: dict[SampleId, dict[str, Any]] = {}
        for file in sorted(self.folder.glob('predictions-*.jsonl')):
            *lines, rest = file.read_bytes().split(b'\n')
            for number, line in enumerate(lines, 1):
                try:
                    record = json.loads(line)
                    key, failed = record['id'], record.get('error')
                    old = records.get(key)
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise DataError(
                        f'line {number} of {file} is not a prediction ({error}). Remove the file '
                        'to start over, or that line to predict its sample again.'
                    ) from error
                if not failed or old is None or old.get('error'):
                    records[key] = record
            if rest and file == self.file:
                os.truncate(file, file.stat().st_size - len(rest))
        return records

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Writes records, one line each, and hands them to the system at once."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = ''.join(to_json(record) + '\n' for record in records)
        with open(self.file, 'a', encoding='utf-8', newline='\n') as handle:
            handle.write(lines)


def sample_ids(infos: Sequence[Mapping[str, Any]]) -> list[SampleId]:
    """An id for each sample of a set, none twice, the same in whatever order they come.

    The first of ``ID_FIELDS`` that every sample has and that tells them all apart;
    a sample's number where none does.
    """
    for field in ID_FIELDS:
        ids = [plain(info.get(field)) for info in infos]
        if all(isinstance(i, (int, str)) for i in ids) and len(set(ids)) == len(ids):
            return ids
    return list(range(len(infos)))


def plain(value: Any) -> Any:
    """A number of torch or numpy as Python's."""
    return value.item() if hasattr(value, 'item') else value


def file_mark(path: Any) -> str | None:
    """A file's name, size and time of change; its name alone where there is no file."""
    if not isinstance(path, (str, Path)):
        return None if path is None else ' '.join(str(file_mark(one)) for one in path)
    try:
        now = os.stat(path)
    except (OSError, ValueError):  # the second: a NUL, or half of a character
        return str(path)
    return f'{path} {now.st_size} {now.st_mtime_ns}'


def to_json(value: Any, **more: Any) -> str:
    """JSON that UTF-8 can hold: its letters as they are, or escaped where one is half a letter."""
    text = json.dumps(value, ensure_ascii=False, **more)
    return json.dumps(value, **more) if _HALF.search(text) else text


def write_json(value: Any, file: str | Path) -> None:
    """Writes a JSON file whole or not at all."""
    write_text(to_json(value, indent=1) + '\n', file)


def write_lines(rows: Iterable[Any], file: str | Path) -> None:
    """Writes a file of JSON lines whole or not at all."""
    write_text(''.join(to_json(row) + '\n' for row in rows), file)


def write_text(text: str, file: str | Path) -> None:
    """Writes a file in UTF-8 whole or not at all."""
    with whole(file) as part:
        part.write_text(text, encoding='utf-8')


@contextmanager
def whole(file: str | Path) -> Iterator[Path]:
    """A path beside a file, to write to: it takes the file's place if nothing fails."""
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f'.{file.name}.part')
    try:
        yield part
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
