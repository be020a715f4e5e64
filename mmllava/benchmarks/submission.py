"""Writes submission files in the format that their names end in, whole or not at all."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmllava import io


def write_submission(files: Mapping[str, Any], folder: Path) -> list[Path]:
    """Writes what a server or a judge takes.

    Args:
        files: name -> content: a string as it is; records of ``.jsonl``, one a line; records
            of ``.xlsx`` as a table (tab-separated, ``.tsv``, if openpyxl is not installed);
            anything else as JSON.
        folder: to write to; created if it does not exist.

    Returns:
        the paths of the written files.
    """
    written = []
    for name, content in files.items():
        if name.endswith('.xlsx') and find_spec('openpyxl') is None:
            name = name.removesuffix('.xlsx') + '.tsv'
        path = folder / name
        _write(path, content)
        written.append(path)
    return written


def _write(path: Path, content: Any) -> None:
    if path.suffix == '.xlsx':
        with io.atomic_path(path) as part:
            _write_excel(part, content)
    elif isinstance(content, str):
        io.write_text(path, content)
    elif path.suffix == '.jsonl':
        io.write_json_lines(path, content)
    elif path.suffix == '.tsv':
        rows = [list(content[0]), *(record.values() for record in content)]
        lines = ['\t'.join(' '.join(str(cell).split()) for cell in row) for row in rows]
        io.write_text(path, '\n'.join(lines) + '\n')
    else:
        io.write_json(path, content, indent=None)


def _write_excel(path: Path, records: list[dict[str, Any]]) -> None:
    from openpyxl import Workbook
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE, WriteOnlyCell

    book = Workbook(write_only=True)
    sheet = book.create_sheet('Sheet1')
    sheet.append(list(records[0]))
    for record in records:
        cells = []
        for value in record.values():
            is_text = isinstance(value, str)
            cell = WriteOnlyCell(sheet, ILLEGAL_CHARACTERS_RE.sub('', value) if is_text else value)
            if is_text:
                cell.data_type = 's'  # "=1" is an answer, not a formula
            cells.append(cell)
        sheet.append(cells)
    book.save(path)
