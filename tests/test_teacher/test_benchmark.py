"""What docs/teacher.md says of the client's speed is what the newest row says."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_figures_of_the_page_are_those_of_the_newest_row():
    rows = (ROOT / 'tools/benchmark/results/teacher.jsonl').read_text().splitlines()
    row, text = json.loads(rows[-1]), ' '.join((ROOT / 'docs/teacher.md').read_text().split())
    found = re.search(r'takes (\d+) ms, ([\d,]+) requests, (\d+) at a time, went at (\d+) a', text)
    assert found.groups() == (
        f'{row["delay_s"] * 1000:.0f}',
        f'{row["requests"]:,}',
        str(row['concurrency']),
        f'{row["per_second"]:.0f}',
    )
    memory = re.search(r'of the (\d+) that are possible, and memory stayed at (\d+) MB', text)
    assert memory.groups() == (f'{row["best_per_second"]:.0f}', f'{max(row["memory_mb"]):.0f}')
    assert row['per_second'] >= 200 and max(row['memory_mb']) < 1.1 * row['memory_mb'][0]
