"""A run to look at: scores, protocol and samples with their pictures, in one file."""

import base64
import html
import io
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from mmllava.errors import ConfigError, DataError, ImageError, unknown_name
from mmllava.evaluation.prediction_store import file_mark
from mmllava.evaluation.runs import Run, answer_of
from mmllava.images.annotate import PAPER, annotate
from mmllava.images.load import load_image

SIDE_PX = 320  # of a picture in the report
COLUMNS = 4  # of the PNG sheet
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1200px; padding: 0 1em;
  color: #1d1d1f; background: #fff }
h1 { font-size: 1.5em } h2 { font-size: 1.2em; margin-top: 2em }
table { border-collapse: collapse } td, th { text-align: left; vertical-align: top;
  padding: .2em 1em .2em 0; border-bottom: 1px solid #ddd; overflow-wrap: anywhere;
  white-space: pre-wrap } th { font-weight: 600; white-space: nowrap }
.samples { display: grid; grid-template-columns: repeat(auto-fill, minmax(260px, 1fr)); gap: 1em }
article { border: 1px solid #ccc; border-radius: 6px; padding: .8em; overflow-wrap: anywhere }
article p { margin: .35em 0; white-space: pre-wrap } b { font-weight: 600 }
img { max-width: 100%; display: block; margin: 0 auto } .none, .error { color: #a40000 }
.small { color: #555; font-size: .87em }
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Choice:
    """The samples that a report shows, and by which score they are the worst."""

    by: str | None
    worst: list[dict[str, Any]]
    failed: list[dict[str, Any]]
    chosen: list[dict[str, Any]]  # at random


def choose(run: Run, count: int = 12, by: str | None = None, seed: int = 0) -> Choice:
    """Picks the samples to show.

    Args:
        run: finished.
        count: of each kind.
        by: name of a score of single samples; None: CIDEr, or the first there is.
        seed: of the random ones; the same seed picks the same ids.

    Raises:
        ConfigError: no sample has that score.
        DataError: the run has no sample.
    """
    samples = list(run.samples.values())
    if not samples:
        raise DataError(f'{run.folder} has no sample to show.')
    answered = [sample for sample in samples if answer_of(sample) is not None]
    names = list(dict.fromkeys(name for s in answered for name in s.get('scores') or {}))
    if by is not None and by not in names:
        if names:
            raise unknown_name('score of single samples', by, names)
        raise ConfigError(
            f'no sample of {run.folder} has a score of its own, so none is the worst by {by!r}. '
            'Leave --by out.'
        )
    by = by or ('CIDEr' if 'CIDEr' in names else next(iter(names), None))
    scored = [s for s in answered if by in (s.get('scores') or {})]
    worst = sorted(scored, key=lambda s: s['scores'][by])[:count] if by else []
    chosen = random.Random(seed).sample(answered, min(count, len(answered)))
    failed = [sample for sample in samples if answer_of(sample) is None]
    return Choice(by, worst, failed[:count], chosen)


def make_html(run: Run, choice: Choice) -> str:
    """The report, one HTML page without a link, a script or a file beside it."""
    card = run.card
    counts = card.get('counts') or {}
    samples = [
        (f'Worst by {choice.by}', choice.worst),
        (f'Failed ({counts.get("failed", 0)} in all)', choice.failed),
        ('At random', choice.chosen),
    ]
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        f'<title>{_text(run.folder.name)}</title><style>{STYLE}</style></head><body>',
        f'<h1>{_text(run.folder.name)}</h1>',
        '<h2>Scores</h2>',
        _table(card['scores']),
        _table(counts),
    ]
    if choice.by is None:
        parts.append('<p>The metric gives no score to single samples, so none is the worst.</p>')
    for title, shown in samples:
        if shown:
            cards = ''.join(_sample(sample, card['protocol']) for sample in shown)
            parts.append(f'<h2>{_text(title)}</h2><div class="samples">{cards}</div>')
    parts += ['<h2>Protocol</h2>', _table(_flat(card['protocol']))]
    parts += ['<h2>Scoring</h2>', _table(_flat(card.get('scoring') or {}))]
    for environment in card.get('environments') or []:
        parts += ['<h2>Machine and versions</h2>', _table(_flat(environment))]
    return ''.join([*parts, '</body></html>\n'])


def make_sheet(run: Run, choice: Choice) -> Image.Image:
    """The worst samples, or random ones where none is the worst, as one picture.

    Raises:
        DataError: no sample can be shown.
    """
    tiles = []
    for sample in choice.worst or choice.chosen:
        picture = _picture(sample)
        if isinstance(picture, str):
            picture = Image.new('RGB', (SIDE_PX, SIDE_PX // 4), PAPER)
        lines = [sample.get('question'), f'A: {answer_of(sample)}']
        lines += [f'R: {one}' for one in _references(sample)[:2]]
        tile = ImageOps.contain(picture, (SIDE_PX, SIDE_PX))
        page = Image.new('RGB', (SIDE_PX, tile.height), PAPER)
        page.paste(tile)
        tiles.append(annotate(page, [line for line in lines if line]))
    if not tiles:
        raise DataError(f'no sample of {run.folder} has an answer to draw.')
    rows = [tiles[k : k + COLUMNS] for k in range(0, len(tiles), COLUMNS)]
    heights = [max(tile.height for tile in row) + 12 for row in rows]
    width = (SIDE_PX + 12) * min(COLUMNS, len(tiles))
    sheet, top = Image.new('RGB', (width, sum(heights)), PAPER), 0
    for row, height in zip(rows, heights, strict=True):
        for number, tile in enumerate(row):
            sheet.paste(tile, (number * (SIDE_PX + 12), top))
        top += height
    return sheet


def _sample(sample: Mapping[str, Any], protocol: Mapping[str, Any]) -> str:
    picture = _picture(sample)
    if isinstance(picture, str):
        shown = f'<p class="none">{_text(picture)}</p>'
    else:
        picture.thumbnail((SIDE_PX, SIDE_PX))
        data = io.BytesIO()
        picture.save(data, 'JPEG', quality=80)
        code = base64.b64encode(data.getvalue()).decode()
        shown = f'<img alt="" src="data:image/jpeg;base64,{code}">'
    asked = sample.get('question') or (protocol.get('prompt') or {}).get('text') or ''
    lines = [f'<p class="small">{_text(sample["id"])}</p>', f'<p><b>Q</b> {_text(asked)}</p>']
    answer = answer_of(sample)
    if answer is None:
        lines.append(f'<p class="error"><b>failed</b> {_text(sample.get("error"))}</p>')
    else:
        lines.append(f'<p><b>A</b> {_text(answer)}</p>')
    lines += [f'<p><b>R</b> {_text(one)}</p>' for one in _references(sample)]
    scores = ', '.join(f'{k} {_number(v)}' for k, v in (sample.get('scores') or {}).items())
    return f'<article>{shown}{"".join(lines)}<p class="small">{_text(scores)}</p></article>'


def _picture(sample: Mapping[str, Any]) -> Image.Image | str:
    """The sample's picture, or why it is not shown.

    Only the very file that the run read is opened: a path that somebody else wrote into
    the samples would have to name its size and time of change too.
    """
    path = sample.get('img_path')
    if not isinstance(path, str):
        return 'no picture file'
    if not Path(path).is_file() or file_mark(path) != sample.get('picture'):
        return f'{path} is not the file that the run read: moved, or changed since'
    try:
        return load_image(Path(path))
    except ImageError as error:
        return str(error)


def _references(sample: Mapping[str, Any]) -> list[Any]:
    found = sample.get('reference')
    if found is None:
        return []
    return found if isinstance(found, list) else [found]


def _flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted name -> value."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            found |= {f'{key}.{name}': deep for name, deep in _flat(value).items()}
        else:
            found[str(key)] = value
    return found


def _table(rows: Mapping[str, Any]) -> str:
    cells = (f'<tr><th>{_text(k)}</th><td>{_text(_number(v))}</td></tr>' for k, v in rows.items())
    return f'<table>{"".join(cells)}</table>'


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f'{value:.4g}'
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _text(value: Any) -> str:
    """Escaped; half a character becomes a question mark."""
    return html.escape(str(value).encode('utf-8', 'replace').decode(), quote=True)
