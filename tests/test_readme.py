"""The README is true: its file tree, its links, its commands.

The tree is the fenced block under the first heading with the word "tree". One
line is one file or folder, then two spaces or more and a comment; indentation
is depth, a folder ends in "/", and box-drawing characters are allowed:

    mmllava/
      errors.py            what was found, what was expected, what to do
      prompts/             a conversation becomes token ids
        templates.py       every template, as data
      evaluation/*.py      one file per metric
    configs/               a leaf says only what differs
      llava/*.py
      ...                  the rest of configs/ is not listed

A name may hold slashes and the wildcards of pathlib (``**`` too). A line
``...`` inside a folder covers all that is not listed in it, at any depth.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / 'README.md'


@pytest.fixture(scope='module')
def text() -> str:
    return README.read_text()


def tree_block(text: str) -> str:
    """The fenced block under the first heading that says "tree"."""
    found = re.search(r'^#+ [^\n]*\btree\b.*?^```\w*\n(.*?)^```', text, re.M | re.S | re.I)
    assert found, 'README.md has no fenced block under a heading with the word "tree"'
    return found[1]


def entries(block: str) -> Iterator[str]:
    """Yields each line of the tree as a path from the root, wildcards and '...' kept."""
    above: list[tuple[int, str]] = []
    for line in block.splitlines():
        indent, name = re.fullmatch(r'([\s│├└─]*)(\S*).*', line).groups()
        if not name:
            continue
        while above and above[-1][0] >= len(indent):
            above.pop()
        path = ''.join(folder for _, folder in above) + name
        yield path
        if name.endswith('/'):
            above.append((len(indent), name))


def covered(shown: list[str]) -> set[Path]:
    """The files of the tree that the lines name."""
    files: set[Path] = set()
    for path in shown:
        if path.endswith('/...'):  # at the root it would cover everything, and test nothing
            path = path.removesuffix('...') + '**/*'
        files.update(ROOT.glob(path))
    return files


def unlisted(shown: list[str]) -> list[str]:
    """Python files and configs that no line of the tree names or covers."""
    wanted = {f for d in ('mmllava', 'tools', 'demo', 'configs') for f in (ROOT / d).rglob('*.py')}
    wanted = {f for f in wanted if '.mim' not in f.parts and f.name != '__init__.py'}
    return sorted(f.relative_to(ROOT).as_posix() for f in wanted - covered(shown))


def test_every_path_of_the_tree_exists(text):
    shown = list(entries(tree_block(text)))
    assert len(shown) > 10
    missing = [p for p in shown if not p.endswith('...') and not any(ROOT.glob(p))]
    assert not missing, f'README.md shows what is not there: {missing}'


def test_every_file_is_in_the_tree(text):
    missing = unlisted(list(entries(tree_block(text))))
    assert not missing, f'the tree in README.md lacks {missing}'


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


TREE = """
mmllava/
├── errors.py        what was found
├── images/
│   └── *.py         pictures
└── ...
tests/
  test_readme.py
"""


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


def test_the_tree_notation_gives_paths_of_the_root():
    assert list(entries(TREE)) == [
        'mmllava/',
        'mmllava/errors.py',
        'mmllava/images/',
        'mmllava/images/*.py',
        'mmllava/...',
        'tests/',
        'tests/test_readme.py',
    ]


def test_a_folder_alone_does_not_cover_its_files_but_dots_do():
    assert 'mmllava/errors.py' in unlisted(['mmllava/'])
    assert 'mmllava/errors.py' not in unlisted(['mmllava/', 'mmllava/...'])
    assert 'mmllava/images/annotate.py' not in unlisted(['mmllava/images/*.py'])
    assert 'mmllava/errors.py' in unlisted(['mmllava/images/*.py'])
