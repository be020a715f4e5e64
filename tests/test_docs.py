"""The pages in docs/ are true: links lead somewhere, and every test that is named exists."""

import re

import pytest

from tests.conftest import ROOT

PAGES = sorted((ROOT / 'docs').glob('*.md'))


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
