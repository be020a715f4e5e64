"""Floor 3. A submission on disk, in the format that its name ends in; whole or not at all."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from mmllava.benchmarks.item import Answers, Benchmark, Item


def write_submission(
    benchmark: Benchmark, items: Sequence[Item], answers: Answers, folder: Path
) -> Path:
    """Writes the file that the set's server or judge takes.

    Returns:
        where it was written.
    """
    name, content = benchmark.submit(items, answers)
    if name.endswith('.jsonl'):
        text = ''.join(json.dumps(row, ensure_ascii=False) + '\n' for row in content)
    else:
        text = json.dumps(content, ensure_ascii=False) + '\n'
    folder.mkdir(parents=True, exist_ok=True)
    path, part = folder / name, folder / f'.{name}.part'
    try:
        part.write_text(text, encoding='utf-8')
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path
