"""Caches answers on disk, so that nothing is paid for twice."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmllava import io


@dataclass(frozen=True)
class Answer:
    """An answer of the teacher; ``model`` is the name that the server reports."""

    text: str
    finish: str  # 'stop'; 'length': cut at max_tokens; 'content_filter'
    model: str
    tokens_in: int
    tokens_out: int


class Cache:
    """Stores one file for each request below a folder, named by the request's key.

    A file appears whole or not at all. It holds the request and the answer in readable form;
    the endpoint's API key is part of neither.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> Answer | None:
        """Returns the answer, or None if it was not asked yet or the file is damaged."""
        try:
            answer = Answer(**json.loads(self._file(key).read_text(encoding='utf-8'))['answer'])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return answer if isinstance(answer.text, str) else None

    def check(self) -> None:
        """Checks that the folder can be written, before anything is paid for.

        Raises:
            OSError: the folder cannot be written.
        """
        io.write_text(self.folder / '.check', '')
        (self.folder / '.check').unlink(missing_ok=True)

    def put(self, key: str, body: dict[str, Any], answer: Answer) -> None:
        """Stores the answer to a request."""
        stored = dict(request=body, answer=asdict(answer))
        io.write_json(self._file(key), stored, indent=None)

    def _file(self, key: str) -> Path:
        return self.folder / key[:2] / f'{key}.json'
