"""Draws an image with a model's answer in a band below."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from mmllava.errors import ConfigError

PAPER = (255, 255, 255)
INK = (32, 32, 32)
MIN_FONT_PX, MAX_FONT_PX = 11, 96
ELLIPSIS = '...'


def annotate(
    image: Image.Image,
    text: str | Sequence[str],
    max_lines: int = 12,
    ink: tuple[int, int, int] = INK,
) -> Image.Image:
    """Returns an RGB copy of ``image`` with ``text`` in a white band below it.

    The copy is as wide as the image. Text is wrapped to that width; a word that is wider
    than a line is split. The font is Pillow's own; a character it lacks becomes a small box.

    Args:
        image: any mode and size.
        text: one caption, or several that start a line each, such as
            ``['Q: What is it?', 'A: A cat.']``. Blank text adds no band.
        max_lines: lines in the band; a longer text ends in "...".
        ink: colour of the text, RGB.

    Raises:
        ConfigError: ``max_lines`` is below 1.
    """
    if max_lines < 1:
        raise ConfigError(f'max_lines is {max_lines}, expected 1 or more.')
    image = image.convert('RGB')  # always a copy
    paragraphs = [text] if isinstance(text, str) else list(text)
    paragraphs = [line for part in paragraphs for line in part.splitlines() if line.strip()]
    if not paragraphs:
        return image
    font_px = round((image.width * image.height) ** 0.5 / 22)
    font_px = min(max(font_px, MIN_FONT_PX), MAX_FONT_PX)
    font = ImageFont.load_default(font_px)
    # A margin on a tiny image would leave no room for a character.
    margin = font_px // 2 if image.width >= 4 * font_px else 0
    lines = _wrap(paragraphs, font, image.width - 2 * margin, max_lines)

    line_px = round(font_px * 1.3)
    band_px = len(lines) * line_px + font_px
    page = Image.new('RGB', (image.width, image.height + band_px), PAPER)
    page.paste(image)
    pen = ImageDraw.Draw(page)
    for number, line in enumerate(lines):
        top = image.height + font_px // 2 + number * line_px
        pen.text((margin, top), line, ink, font)
    return page


def side_by_side(images: Sequence[Image.Image]) -> Image.Image:
    """Pastes the images of one sample side by side on white; without images, a white strip."""
    if not images:
        return Image.new('RGB', (448, 8), PAPER)
    width, height = sum(p.width for p in images), max(p.height for p in images)
    page, left = Image.new('RGB', (width, height), PAPER), 0
    for image in images:
        page.paste(image, (left, 0))
        left += image.width
    return page


def _wrap(
    paragraphs: Sequence[str], font: ImageFont.FreeTypeFont, width_px: int, max_lines: int
) -> list[str]:
    """Breaks paragraphs into at most ``max_lines`` lines of at most ``width_px`` each."""
    lines = []
    for paragraph in paragraphs:
        line = ''
        for word in paragraph.split():
            longer = f'{line} {word}' if line else word
            if font.getlength(longer) <= width_px:
                line = longer
                continue
            if line:
                lines.append(line)
            *full, line = _cut(word, font, width_px)
            lines += full
            if len(lines) > max_lines:
                break
        lines.append(line)
        if len(lines) > max_lines:
            last = lines[max_lines - 1]
            while last and font.getlength(last + ELLIPSIS) > width_px:
                last = last[:-1]
            return [*lines[: max_lines - 1], last + ELLIPSIS]
    return lines


def _cut(word: str, font: ImageFont.FreeTypeFont, width_px: int) -> list[str]:
    """Splits a word into pieces that fit a line, of at least one character each."""
    pieces = ['']
    for character in word:
        if pieces[-1] and font.getlength(pieces[-1] + character) > width_px:
            pieces.append('')
        pieces[-1] += character
    return pieces
