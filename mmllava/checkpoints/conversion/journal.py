"""Records which bytes of a conversion are written, so that a killed one can resume.

A line per tensor, beside the unfinished result. The first line is the plan's SHA-256: what was
begun by another plan, or from files that changed since, is not gone on with.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from mmllava.checkpoints.layouts.tensor_plan import TensorPlan
from mmllava.checkpoints.storage.atomic import journal_of
from mmllava.version import __version__


def plan_sum(moves: list[TensorPlan], settings: dict[str, Any]) -> str:
    """SHA-256 of all that decides the bytes of a result, source files by size and time."""
    files = {e.file: e.file.stat() for move in moves for e in move.sources}
    plan = dict(
        version=__version__,
        settings=settings,
        files=sorted((str(f), s.st_size, s.st_mtime_ns) for f, s in files.items()),
        moves=[
            (m.name, m.how, m.dtype, m.shape, [
                (p.how, p.scale, p.shape, [
                    (str(e.file), e.offset, e.nbytes, e.dtype) for e in p.sources
                ]) for p in m.parts
            ]) for m in moves
        ],
    )  # fmt: skip
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()


class Journal:
    """The journal of one result; made anew where there is none of this plan.

    Args:
        part: the unfinished result.
        plan: its ``plan_sum``.
    """

    def __init__(self, part: Path, plan: str) -> None:
        self.file = journal_of(part)
        self.done: list[str] = []  # SHA-256 of the tensors, in order
        if is_of(part, plan):
            self.done = _digests(self.file)
        self._write_all(plan)
        self._plan = plan
        self._handle = open(self.file, 'a')  # noqa: SIM115 - closed by close

    def cut(self, count: int) -> None:
        """Forgets all but the first tensors."""
        self.done = self.done[:count]
        self._handle.close()
        self._write_all(self._plan)
        self._handle = open(self.file, 'a')  # noqa: SIM115

    def add(self, digest: str) -> None:
        """Notes the next tensor, whose bytes the system has."""
        self.done.append(digest)
        self._handle.write(json.dumps(digest) + '\n')
        self._handle.flush()

    def close(self) -> None:
        """Lets go of the file."""
        self._handle.close()

    def _write_all(self, plan: str) -> None:
        lines = [json.dumps(text) + '\n' for text in (plan, *self.done)]
        new = self.file.with_name(f'{self.file.name}.new')
        new.write_text(''.join(lines))
        os.replace(new, self.file)  # a kill meanwhile must not lose what was noted


def is_of(part: Path, plan: str) -> bool:
    """Tells whether an unfinished result was begun by this plan."""
    try:
        with open(journal_of(part)) as handle:
            return json.loads(handle.readline()) == plan
    except (OSError, ValueError):
        return False


def _digests(file: Path) -> list[str]:
    """The digests of a journal; a last line that a kill cut short does not count."""
    found = []
    for line in file.read_text(errors='replace').splitlines()[1:]:
        try:
            digest = json.loads(line)
        except ValueError:
            break
        if not (isinstance(digest, str) and len(digest) == 64):
            break
        found.append(digest)
    return found
