"""Renders a run as one file: scores, protocol and samples with their images."""

import base64
import html
import io
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from mmllava.errors import ConfigError, DataError, ImageError, unknown_name
from mmllava.evaluation.prediction_store import file_signature
from mmllava.evaluation.runs import Run, answer_of
from mmllava.images.annotate import PAPER, annotate
from mmllava.images.load import load_image
from mmllava.io import dump_json

SIDE_PX = 320  # of an image in the report
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
class Selection:
    """Holds the samples that a report shows and the score by which the worst are chosen."""

    by: str | None
    worst: list[dict[str, Any]]
    failed: list[dict[str, Any]]
    random: list[dict[str, Any]]


def choose(run: Run, count: int = 12, by: str | None = None, seed: int = 0) -> Selection:
    """Selects the samples to show.

    Args:
        run: finished.
        count: number of the worst, of the failed and of the random samples.
        by: name of a per-sample score; None: CIDEr, or the first there is.
        seed: of the random samples; the same seed selects the same ids.

    Raises:
        ConfigError: no sample has that score.
        DataError: the run has no sample.
    """
    samples = list(run.samples.values())
    if not samples:
        raise DataError(
            f'{run.folder} has no sample to show, expected one or more. Name another run.'
        )
    answered = [sample for sample in samples if answer_of(sample) is not None]
    names = list(dict.fromkeys(name for s in answered for name in s.get('scores') or {}))
    if by is not None and by not in names:
        if names:
            raise unknown_name('per-sample score', by, names)
        raise ConfigError(
            f'{run.folder} has no per-sample scores, so no sample is the worst by {by!r}. Leave '
            '--by out.'
        )
    by = by or ('CIDEr' if 'CIDEr' in names else next(iter(names), None))
    scored = [s for s in answered if by in (s.get('scores') or {})]
    worst = sorted(scored, key=lambda s: s['scores'][by])[:count] if by else []
    at_random = random.Random(seed).sample(answered, min(count, len(answered)))
    failed = [sample for sample in samples if answer_of(sample) is None]
    return Selection(by, worst, failed[:count], at_random)


def make_html(run: Run, selection: Selection) -> str:
    """Renders the report as one HTML page without links, scripts or other files."""
    metadata = run.metadata
    counts = metadata.get('counts') or {}
    samples = [
        (f'Worst by {selection.by}', selection.worst),
        (f'Failed ({counts.get("failed", 0)} in all)', selection.failed),
        ('At random', selection.random),
    ]
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        f'<title>{_text(run.folder.name)}</title><style>{STYLE}</style></head><body>',
        f'<h1>{_text(run.folder.name)}</h1>',
        '<h2>Scores</h2>',
        _table(metadata['scores']),
        _table(counts),
    ]
    if selection.by is None:
        parts.append('<p>The metric has no per-sample scores, so no sample is the worst.</p>')
    for title, shown in samples:
        if shown:
            articles = ''.join(_sample(sample, metadata['protocol']) for sample in shown)
            parts.append(f'<h2>{_text(title)}</h2><div class="samples">{articles}</div>')
    parts += ['<h2>Protocol</h2>', _table(_flat(metadata['protocol']))]
    parts += ['<h2>Scoring</h2>', _table(_flat(metadata.get('scoring') or {}))]
    for environment in metadata.get('environments') or []:
        parts += ['<h2>Machine and versions</h2>', _table(_flat(environment))]
    return ''.join([*parts, '</body></html>\n'])


def make_sheet(run: Run, selection: Selection) -> Image.Image:
    """Draws the worst samples, or random ones where there are no scores, as one image.

    Raises:
        DataError: no sample can be shown.
    """
    tiles = []
    for sample in selection.worst or selection.random:
        image = _image(sample)
        if isinstance(image, str):
            image = Image.new('RGB', (SIDE_PX, SIDE_PX // 4), PAPER)
        lines = [sample.get('question'), f'A: {answer_of(sample)}']
        lines += [f'R: {one}' for one in _references(sample)[:2]]
        tile = ImageOps.contain(image, (SIDE_PX, SIDE_PX))
        page = Image.new('RGB', (SIDE_PX, tile.height), PAPER)
        page.paste(tile)
        tiles.append(annotate(page, [line for line in lines if line]))
    if not tiles:
        raise DataError(
            f'no sample of {run.folder} has an answer to draw, expected one or more. Name another '
            'run.'
        )
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
    image = _image(sample)
    if isinstance(image, str):
        shown = f'<p class="none">{_text(image)}</p>'
    else:
        image.thumbnail((SIDE_PX, SIDE_PX))
        data = io.BytesIO()
        image.save(data, 'JPEG', quality=80)
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


def _image(sample: Mapping[str, Any]) -> Image.Image | str:
    """Loads the sample's image, or returns the reason why it is not shown.

    Only the very file that the run read is opened: a path that somebody else wrote into the
    samples would need its size and modification time too.
    """
    path = sample.get('img_path')
    if not isinstance(path, str):
        return 'no image file'
    if not Path(path).is_file() or file_signature(path) != sample.get('image'):
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
    """Flattens a tree to dotted name -> value."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= {f'{key}.{name}': deep for name, deep in _flat(value).items()}
        else:
            flat[str(key)] = value
    return flat


def _table(values: Mapping[str, Any]) -> str:
    cells = (f'<tr><th>{_text(k)}</th><td>{_text(_number(v))}</td></tr>' for k, v in values.items())
    return f'<table>{"".join(cells)}</table>'


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f'{value:.4g}'
    return value if isinstance(value, str) else dump_json(value)


def _text(value: Any) -> str:
    """Escapes text for HTML; a lone surrogate becomes a question mark."""
    return html.escape(str(value).encode('utf-8', 'replace').decode(), quote=True)
