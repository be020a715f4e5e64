"""docs/ is true: its links, its scripts, and the figures that it shows."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / 'docs').glob('*.md'))
ROWS = ROOT / 'tools/benchmark/results/convert.jsonl'


def test_there_are_docs():
    assert DOCS


@pytest.mark.parametrize('file', DOCS, ids=lambda f: f.name)
def test_links_and_scripts_exist(file):
    text = file.read_text()
    links = [link for link in re.findall(r'\]\(([^)#\s]+)', text) if '://' not in link]
    assert not [link for link in links if not (file.parent / link).exists()]
    scripts = re.findall(r'\bpython ((?:tools|demo)/[\w./-]+\.py)', text)
    assert not [script for script in scripts if not (ROOT / script).is_file()]


def newest() -> dict[tuple[str, int, int], dict]:
    """(conversion, hidden size, layers) -> the newest row."""
    rows = [json.loads(line) for line in ROWS.read_text().splitlines()]
    return {(row['conversion'], row['hidden'], row['layers']): row for row in rows}


def line_of(row: dict) -> str:
    """A row of the benchmark as docs/checkpoints.md shows it."""
    size = {4096: '7B', 5120: '13B'}[row['hidden']]
    full = {4096: 32, 5120: 40}[row['hidden']]
    size += '' if row['layers'] == full else f' ({row["layers"]} layers)'
    return (
        f'| {row["conversion"]} | {size} | {row["input_bytes"] / 1e9:.1f} | '
        f'{row["output_bytes"] / 1e9:.1f} | {row["cat_s"] + row["dd_s"]:.0f} | '
        f'{row["convert_s"]:.0f} | {row["ratio"]:.2f} | '
        f'{row["convert_user_s"] + row["convert_system_s"]:.0f} | {row["load_before"]:.1f} | '
        f'{row["peak_rss_mb"]:.0f} |'
    )


def test_the_table_of_conversions_is_that_of_the_newest_rows():
    text = (ROOT / 'docs/checkpoints.md').read_text()
    shown = re.search(r'<!-- rows -->\n(.*?)<!-- end of rows -->', text, re.S)[1].splitlines()
    assert shown[2:] == [line_of(row) for _, row in sorted(newest().items(), key=_order)]


def _order(item):
    (conversion, hidden, layers), _ = item
    return hidden, layers, conversion
