"""The pages in docs/ are true: links, tests that are named, commands, and the figures shown."""

import json
import re

import pytest

from tests.conftest import ROOT

PAGES = sorted((ROOT / 'docs').glob('*.md'))
ROWS = ROOT / 'tools/benchmark/results/convert.jsonl'


def links(page):
    return re.findall(r'\[([^\]]+)\]\(([^)\s#]+)[^)]*\)', page.read_text())


def test_there_are_pages():
    assert ROOT / 'docs/footguns.md' in PAGES


@pytest.mark.parametrize('page', PAGES, ids=lambda p: p.name)
def test_every_link_leads_somewhere_and_every_named_test_is_there(page):
    for words, path in links(page):
        if re.match('https?:', path):
            continue
        target = page.parent / path
        assert target.exists(), f'{page.name} links to {path}'
        if words.startswith('test_'):
            assert f'\ndef {words}(' in target.read_text(), f'{path} has no {words}'


def test_every_line_of_the_footguns_names_a_test():
    rows = [r for r in (ROOT / 'docs/footguns.md').read_text().splitlines() if r[:2] == '| ']
    rows = [row for row in rows if not row.startswith(('| Trap', '| :---'))]
    assert len(rows) > 25
    assert not [row for row in rows if '[test_' not in row]


@pytest.mark.parametrize('page', PAGES, ids=lambda p: p.name)
def test_every_command_of_a_page_exists(page):
    scripts = re.findall(r'\bpython3? ((?:tools|demo|tests)/[\w./-]+\.py)', page.read_text())
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


def test_the_figures_of_scoring_are_those_of_the_newest_rows():
    text = (ROOT / 'docs/benchmarks.md').read_text()
    file = ROOT / 'tools/benchmark/results/scoring.jsonl'
    rows = {row['config']: row for row in map(json.loads, file.read_text().splitlines())}
    for config in ('coco_val2014', 'vqav2_val'):
        row = rows[config]
        assert row['seconds'] < 180 and row['peak_mb'] < 2000  # what was asked of it
        assert f'{row["count"]:,}' in text
        assert f'{row["seconds"]:.1f} s and {row["peak_mb"]:.0f} MB' in ' '.join(text.split())


def test_every_benchmark_has_its_line_among_the_datasets():
    text = (ROOT / 'docs/datasets.md').read_text()
    configs = sorted((ROOT / 'configs/benchmarks').glob('*.py'))
    assert len(configs) > 20
    assert not [file.stem for file in configs if f'`{file.stem}`' not in text]
