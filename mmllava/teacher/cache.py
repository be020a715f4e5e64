"""Answers on disk, so that nothing is paid for twice."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmllava.teacher.files import write_text


@dataclass(frozen=True)
class Answer:
    """What the teacher said. ``model`` is the name that the server gave itself."""

    text: str
    finish: str  # 'stop'; 'length': cut at max_tokens; 'content_filter'
    model: str
    tokens_in: int
    tokens_out: int


class Cache:
    """One file for each request, below a folder, named by the request's key.

    A file appears whole or not at all. It holds what was sent and what came back, for a
    person to read; the endpoint's key was never part of either.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> Answer | None:
        """The answer, or None: not asked yet, or the file was damaged."""
        try:
            found = Answer(**json.loads(self._file(key).read_text(encoding='utf-8'))['answer'])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found if isinstance(found.text, str) else None

    def check(self) -> None:
        """Writes and removes a file, before anything is paid for.

        Raises:
            OSError: the folder cannot be written.
        """
        write_text(self.folder / '.check', '')
        (self.folder / '.check').unlink(missing_ok=True)

    def put(self, key: str, body: dict[str, Any], answer: Answer) -> None:
        stored = dict(request=body, answer=asdict(answer))
        write_text(self._file(key), json.dumps(stored, ensure_ascii=False))

    def _file(self, key: str) -> Path:
        return self.folder / key[:2] / f'{key}.json'
