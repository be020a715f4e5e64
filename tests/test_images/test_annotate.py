"""A caption is readable, stays in its band, and leaves the image alone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageFont

from mmllava.errors import ConfigError
from mmllava.images import annotate as module
from mmllava.images.annotate import annotate

RED = (200, 30, 30)
SENTENCE = 'A grey cat and a brown dog are sitting on a pink blanket in front of a sofa.'


def picture(width: int = 320, height: int = 240) -> Image.Image:
    return Image.linear_gradient('L').resize((width, height)).convert('RGB')


def band(result: Image.Image, original: Image.Image) -> Image.Image:
    return result.crop((0, original.height, result.width, result.height))


def same(one: Image.Image, other: Image.Image) -> bool:
    return one.size == other.size and ImageChops.difference(one, other).getbbox() is None


def test_the_picture_above_the_band_is_untouched():
    original = picture()
    before = original.copy()
    result = annotate(original, SENTENCE)
    assert same(original, before)
    assert same(result.crop((0, 0, 320, 240)), before)
    assert result.width == 320 and result.height > 240


def test_the_text_is_printed_dark_on_white_with_a_margin():
    original = picture()
    below = band(annotate(original, 'x' * 80), original)
    assert below.getpixel((0, 0)) == (255, 255, 255)
    assert below.convert('L').getextrema()[0] < 60
    left, top, right, bottom = ImageChops.invert(below.convert('L')).getbbox()
    assert left > 3 and top > 3 and right < below.width - 3 and bottom < below.height - 3


def test_other_text_changes_only_the_band():
    original = picture()
    one, other = annotate(original, 'a cat'), annotate(original, 'a dog')
    top = ImageChops.difference(one, other).getbbox()[1]
    assert top >= original.height


def test_a_longer_text_takes_more_lines_of_the_same_width():
    original = picture()
    short, long = annotate(original, 'a cat'), annotate(original, SENTENCE)
    assert short.width == long.width
    assert long.height > short.height


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(max_size=300) | st.text('xy ', max_size=300),
    width_px=st.integers(30, 400),
    font_px=st.integers(8, 40),
    max_lines=st.integers(1, 6),
)
def test_wrapped_lines_fit_and_lose_nothing_unless_they_end_in_an_ellipsis(
    text, width_px, font_px, max_lines
):
    font = ImageFont.load_default(font_px)
    lines = module._wrap([text], font, width_px, max_lines)
    assert 1 <= len(lines) <= max_lines
    for line in lines:
        # One character wider than the line has nowhere to go.
        assert font.getlength(line) <= width_px or len(line.removesuffix('...')) <= 1
    kept, whole = ''.join(''.join(lines).split()), ''.join(text.split())
    assert kept == whole or (len(lines) == max_lines and whole.startswith(kept[: -len('...')]))


def test_a_very_long_text_is_cut_with_an_ellipsis(monkeypatch):
    printed = []
    monkeypatch.setattr(
        module.ImageDraw.ImageDraw, 'text', lambda self, at, line, *rest: printed.append(line)
    )
    result = annotate(picture(), SENTENCE * 400, max_lines=3)
    assert len(printed) == 3 and printed[-1].endswith('...')
    assert result.height < 2 * 240


def test_question_and_answer_each_begin_a_line(monkeypatch):
    printed = []
    monkeypatch.setattr(
        module.ImageDraw.ImageDraw, 'text', lambda self, at, line, *rest: printed.append(line)
    )
    annotate(picture(), ['Q: What is it?', 'A: A cat.\nA grey one.'])
    assert printed == ['Q: What is it?', 'A: A cat.', 'A grey one.']


@pytest.mark.parametrize('nothing', ['', ' \n\t', [], ['', ' ']])
def test_without_text_there_is_no_band(nothing):
    original = picture()
    result = annotate(original, nothing)
    assert same(result, original) and result is not original


@pytest.mark.parametrize('size', [(1, 1), (3, 500), (500, 3), (24, 24), (4000, 3000)])
def test_any_size_of_picture_works(size):
    result = annotate(picture(*size), SENTENCE)
    assert result.width == size[0] and result.height > size[1]


def test_letters_grow_with_the_picture():
    heights = [annotate(picture(s, s), 'a cat').height - s for s in (200, 800, 1600)]
    assert heights == sorted(set(heights))


@pytest.mark.parametrize(
    'text', ['一只猫坐在沙发上。' * 20, 'ねこ 🐈 und Hünde', '\u202e\x00\x1b[31m', 'x' * 3000]
)
def test_characters_the_font_lacks_do_not_stop_it(text):
    original = picture()
    assert annotate(original, text).height > original.height


@pytest.mark.parametrize('mode', ['L', 'P', 'RGBA', 'CMYK', '1'])
def test_every_kind_of_picture_becomes_rgb(mode):
    assert annotate(picture().convert(mode), SENTENCE).mode == 'RGB'


def test_no_lines_at_all_is_refused():
    with pytest.raises(ConfigError, match='max_lines is 0, expected 1 or more'):
        annotate(picture(), SENTENCE, max_lines=0)


def test_text_is_drawn_in_the_colour_that_is_asked_for():
    page = annotate(Image.new('RGB', (200, 100)), 'A red cat.', ink=(200, 0, 0))
    colors = [color for _, color in page.crop((0, 100, *page.size)).getcolors(10_000)]
    assert (200, 0, 0) in colors and not [c for c in colors if c[0] < c[1]]
