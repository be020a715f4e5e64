"""Submissions on disk, in the format that a file's name ends in; whole or not at all."""

import json
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def write_submission(files: Mapping[str, Any], folder: Path) -> list[Path]:
    """Writes what a server or a judge takes.

    Args:
        files: name -> content: a text as it is; rows of ``.jsonl``, one a line; rows of
            ``.xlsx``, a table (with tabs, as ``.tsv``, where openpyxl is not installed);
            anything else as JSON.
        folder: where they go; made if need be.

    Returns:
        where they were written.
    """
    written = []
    for name, content in files.items():
        if name.endswith('.xlsx') and find_spec('openpyxl') is None:
            name = name.removesuffix('.xlsx') + '.tsv'
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f'.{path.name}.part')
        try:
            _write(part, path.suffix, content)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        written.append(path)
    return written


def _write(path: Path, suffix: str, content: Any) -> None:
    if suffix == '.xlsx':
        _write_excel(path, content)
        return
    if isinstance(content, str):
        text = content
    elif suffix == '.jsonl':
        text = ''.join(json.dumps(row, ensure_ascii=False) + '\n' for row in content)
    elif suffix == '.tsv':
        rows = [list(content[0]), *(row.values() for row in content)]
        text = ''.join('\t'.join(' '.join(str(c).split()) for c in row) + '\n' for row in rows)
    else:
        text = json.dumps(content, ensure_ascii=False) + '\n'
    path.write_text(text, encoding='utf-8')


def _write_excel(path: Path, rows: list[dict[str, Any]]) -> None:
    from openpyxl import Workbook
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE, WriteOnlyCell

    book = Workbook(write_only=True)
    sheet = book.create_sheet('Sheet1')
    sheet.append(list(rows[0]))
    for row in rows:
        cells = []
        for value in row.values():
            text = isinstance(value, str)
            cell = WriteOnlyCell(sheet, ILLEGAL_CHARACTERS_RE.sub('', value) if text else value)
            if text:
                cell.data_type = 's'  # "=1" is an answer, no formula
            cells.append(cell)
        sheet.append(cells)
    book.save(path)
