"""The README is true: its map, its links, its commands, its figures."""

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / 'README.md'
LONGEST = 175  # lines that a newcomer reads in ten minutes


@pytest.fixture(scope='module')
def text() -> str:
    return README.read_text()


def mapped_folders(text: str) -> list[str]:
    """Lists the folders in the first column of the table under the heading "Map"."""
    section = re.search(r'^## Map$(.*?)^## ', text, re.M | re.S)
    assert section, 'README.md has no section "Map"'
    return re.findall(r'^\| `([^`]+)/` \|', section[1], re.M)


def source_folders() -> list[str]:
    """Lists the folders that hold files under version control and that a reader looks for."""
    rooms = {file.parent for file in (ROOT / 'mmllava').rglob('*.py')} - {ROOT / 'mmllava'}
    rooms = {r for r in rooms if not any(r in other.parents for other in rooms)}
    top = {
        f
        for f in ROOT.iterdir()
        if f.is_dir() and not f.name.startswith('.') and f.suffix != '.egg-info'
    }
    ignored = subprocess.run(
        ['git', 'check-ignore', *map(str, top)], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    top = {f for f in top if str(f) not in ignored and f.name != 'mmllava'}
    return sorted(f.relative_to(ROOT).as_posix() for f in rooms | top)


def test_the_map_has_a_line_for_each_folder_and_no_other(text):
    mapped = mapped_folders(text)
    assert len(mapped) == len(set(mapped))
    assets = 'mmllava/assets'  # weights, no code
    assert sorted(mapped) == sorted([*source_folders(), assets])


def test_the_readme_is_read_in_ten_minutes(text):
    assert len(text.splitlines()) <= LONGEST


def test_every_file_that_the_readme_names_exists(text):
    named = re.findall(r'`((?:[\w-]+/)+[\w-]+\.py)`', text)
    assert len(named) > 8
    missing = [
        n for n in named if not (ROOT / n).is_file() and not (ROOT / 'mmllava' / n).is_file()
    ]
    assert not missing, f'README.md names {missing}'


def test_every_relative_link_leads_somewhere(text):
    links = re.findall(r'\]\(([^)\s]+)[^)]*\)|(?:src|href)="([^"]+)"', text)
    links = [a or b for a, b in links]
    headings = re.findall(r'^#+ (.*)$', re.sub(r'```.*?```', '', text, flags=re.S), re.M)
    anchors = {re.sub(r'[^\w\- ]', '', h.lower()).replace(' ', '-') for h in headings}
    for link in links:
        path, _, anchor = link.partition('#')
        if re.match(r'https?:|mailto:', link):
            continue
        assert not path or (ROOT / path).exists(), f'README.md links to {link}'
        assert path or anchor in anchors, f'README.md links to the heading {link}'


def test_every_make_command_is_a_target(text):
    targets = set(re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(), re.M))
    used = set(re.findall(r'(?:^|`|\$ |&& )make ([a-z][\w-]*)', text, re.M))
    assert {'demo', 'test'} <= used <= targets


def test_every_script_that_is_run_exists(text):
    scripts = re.findall(r'\bpython3? ((?:tools|demo|tests)/[\w./-]+\.py)', text)
    assert not [s for s in scripts if not (ROOT / s).is_file()]


def last_row(name: str, **wanted) -> dict:
    """The newest row that a benchmark kept, of those with these values."""
    file = ROOT / 'tools/benchmark/results' / f'{name}.jsonl'
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [row for row in rows if row.items() >= wanted.items()][-1]


def test_figures_are_those_of_the_newest_rows(text):
    text = ' '.join(text.split())
    merge = re.search(r'took (\d+) MB of memory and ([\d.]+) times as long', text)
    row = last_row('convert', conversion='delta -> mmllava', hidden=4096, layers=32)
    assert merge.groups() == (f'{row["peak_rss_mb"]:.0f}', f'{row["ratio"]:.2f}')
    spread = re.search(r'7B and 13B took ([\d.]+) to ([\d.]+) times', text)
    names = ('delta -> mmllava', 'lora -> original', 'original -> hf', 'hf -> original')
    rows = [last_row('convert', conversion=n, hidden=h) for n in names for h in (4096, 5120)]
    ratios = [row['ratio'] for row in rows]
    assert spread.groups() == (f'{min(ratios):.2f}', f'{max(ratios):.2f}')
    assert max(ratios) <= 1.25 and max(row['peak_rss_mb'] for row in rows) < 1500  # asked of it
    loop = re.search(
        r'at ([\d.]+) times the tokens/s .*\(streamed ([\d.]+) times\).* at ([\d.]+) t', text
    )
    row = last_row('decode')
    ratios = (row['predict_ratio'], row['chat_ratio'], row['batch_predict_ratio'])
    assert min(ratios) >= 1 and row['batch_speedup'] >= 4  # what was asked of it
    expected = (f'{ratios[0]:.2f}', f'{ratios[1]:.2f}', f'{row["batch_speedup"]:.1f}')
    assert loop.groups() == expected
    metrics = re.search(r'in ([\d.]+) s, where pycocoevalcap with Java took ([\d.]+) s', text)
    row = last_row('caption_metrics')
    assert metrics.groups() == (f'{row["ours_seconds"]:.1f}', f'{row["theirs_seconds"]:.1f}')
