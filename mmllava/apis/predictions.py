"""Floor 4. Predictions on disk, appended as they come, so that a killed run goes on."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmllava.errors import DataError


class PredictionFile:
    """The predictions of one run: a JSON line for each sample, under its index.

    The file's name holds a fingerprint of what decides a prediction (weights,
    model, data), so that runs with other settings never mix. Each process of a
    run appends to a file of its own and reads those of all.

    Args:
        folder: work folder of the run.
        fingerprint: from `fingerprint`.
        rank: number of this process.
    """

    def __init__(self, folder: str | Path, fingerprint: str, rank: int = 0) -> None:
        self.folder, self.stem = Path(folder), f'predictions-{fingerprint}'
        self.file = self.folder / f'{self.stem}.{rank}.jsonl'

    def read(self) -> dict[int, dict[str, Any]]:
        """Records by index; a later one replaces an earlier one.

        A last line that a kill cut short is passed over.

        Raises:
            DataError: another line is not a record.
        """
        records: dict[int, dict[str, Any]] = {}
        for file in sorted(self.folder.glob(f'{self.stem}.*.jsonl')):
            *lines, rest = file.read_bytes().split(b'\n')
            for number, line in enumerate(lines, 1):
                try:
                    record = json.loads(line)
                    records[record['index']] = record
                except (ValueError, KeyError, TypeError) as error:
                    raise DataError(
                        f'line {number} of {file} is not a prediction ({error}). Remove the file '
                        'to start over, or that line to predict its sample again.'
                    ) from error
            if rest and file == self.file:
                os.truncate(file, file.stat().st_size - len(rest))
        return records

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Writes records, one line each, and hands them to the system at once."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = ''.join(json.dumps(record, ensure_ascii=False) + '\n' for record in records)
        with open(self.file, 'a', encoding='utf-8', newline='\n') as handle:
            handle.write(lines)


def fingerprint(settings: Mapping[str, Any], *paths: str | Path) -> str:
    """Twelve hex digits that change with the settings or with what is at the paths.

    Files count by name, size and time of change; their bytes are not read.
    """
    seen = []
    for path in map(Path, filter(None, paths)):
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        seen += [str(path), *map(file_mark, files)]
    text = json.dumps([settings, seen], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def file_mark(path: str | Path | None) -> str | None:
    """A file's name, size and time of change; its name alone where there is no file."""
    if path is None:
        return None
    try:
        now = os.stat(path)
    except OSError:
        return str(path)
    return f'{path} {now.st_size} {now.st_mtime_ns}'


def write_json(value: Any, file: str | Path) -> None:
    """Writes a JSON file whole or not at all."""
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f'.{file.name}.part')
    try:
        part.write_text(json.dumps(value, ensure_ascii=False, indent=1) + '\n', encoding='utf-8')
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
