"""An image is decoded as the original does: Pillow, converted to RGB, nothing turned."""

import base64
import io
import os
import socket
import threading

import numpy as np
import pytest
from PIL import Image

from mmllava.errors import ImageError
from mmllava.images.load import list_images, load_image

COLOURS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.fixture
def picture():
    return Image.fromarray(COLOURS)


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'L', 'LA', 'P', 'CMYK', 'I;16', '1', 'F', 'I'])
def test_every_mode_gives_what_pillows_convert_gives(tmp_path, picture, mode):
    if mode == 'I;16':
        image = Image.fromarray(COLOURS[..., 0].astype(np.uint16) * 257)
    else:
        image = picture.convert(mode)
    file = tmp_path / f'x.{"tif" if mode in ("CMYK", "F", "I;16", "I") else "png"}'
    image.save(file)
    loaded = load_image(file)
    assert loaded.mode == 'RGB'
    assert loaded.tobytes() == Image.open(file).convert('RGB').tobytes()


def test_exif_orientation_is_ignored_unless_it_is_asked_for(tmp_path, picture):
    exif = picture.getexif()
    exif[0x0112] = 6  # turned by a quarter
    picture.save(tmp_path / 'x.jpg', exif=exif)
    assert load_image(tmp_path / 'x.jpg').size == (30, 20)
    assert load_image(tmp_path / 'x.jpg', exif=True).size == (20, 30)


def test_path_bytes_array_and_picture_are_one(tmp_path, picture):
    picture.save(tmp_path / 'x.png')
    expected = picture.tobytes()
    for source in (
        tmp_path / 'x.png',
        str(tmp_path / 'x.png'),
        (tmp_path / 'x.png').read_bytes(),
        picture,
        COLOURS[..., ::-1],  # BGR, as mmcv reads
        np.dstack([COLOURS[..., ::-1], np.full((20, 30), 9, np.uint8)]),
    ):
        assert load_image(source).tobytes() == expected


def test_a_grey_array_is_grey():
    assert load_image(COLOURS[..., 0]).getpixel((0, 0)) == (int(COLOURS[0, 0, 0]),) * 3


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ImageError, match=r'no image at .*nope.png; check the path'):
        load_image(tmp_path / 'nope.png')


def test_a_folder_is_not_one_picture(tmp_path):
    with pytest.raises(ImageError, match='is a folder, expected one image'):
        load_image(tmp_path)


def test_a_file_that_is_no_picture_is_named(tmp_path):
    (tmp_path / 'x.png').write_text('hello')
    with pytest.raises(ImageError, match='is not an image that Pillow knows'):
        load_image(tmp_path / 'x.png')


def test_whatever_a_decoder_says_of_a_damaged_picture_it_is_named(picture, monkeypatch):
    def fail(self):
        raise RuntimeError('Failed to decode frame 0')  # Pillow's AVIF

    data = io.BytesIO()
    picture.save(data, 'PNG')
    monkeypatch.setattr('PIL.PngImagePlugin.PngImageFile.load', fail)
    with pytest.raises(ImageError, match=r'could not be decoded \(Failed to decode frame 0\)'):
        load_image(data.getvalue())


@pytest.mark.parametrize('form', ['PNG', 'JPEG'])
def test_a_picture_that_is_cut_short_is_named(picture, form):
    data = io.BytesIO()
    picture.resize((300, 200)).save(data, form)
    with pytest.raises(ImageError, match='damaged or cut short'):
        load_image(data.getvalue()[: len(data.getvalue()) // 2])


def test_a_picture_beyond_pillows_guard_is_refused(tmp_path, picture, monkeypatch):
    picture.save(tmp_path / 'x.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    with pytest.raises(ImageError, match='is too large'):
        load_image(tmp_path / 'x.png')


@pytest.mark.parametrize(
    'array', [COLOURS.astype(float), COLOURS[..., :2], COLOURS[:0], COLOURS[None]]
)
def test_an_array_that_is_no_picture_says_its_shape(array):
    with pytest.raises(ImageError, match=r'an array of shape \(.* is no image'):
        load_image(array)


def test_something_else_is_refused():
    with pytest.raises(ImageError, match='an image cannot be a int'):
        load_image(3)


def test_an_address_that_does_not_answer_is_named():
    with pytest.raises(ImageError, match='http://127.0.0.1:9/x.png could not be fetched'):
        load_image('http://127.0.0.1:9/x.png')


@pytest.mark.parametrize(
    ('answer', 'error'),
    [
        (b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort', 'IncompleteRead'),
        (b'nonsense\r\n\r\n', 'BadStatusLine'),
        (b'', 'RemoteDisconnected'),
    ],
)
def test_an_answer_that_breaks_off_is_named(answer, error):
    with socket.create_server(('127.0.0.1', 0)) as server:

        def serve():
            client, _ = server.accept()
            with client:
                client.recv(4096)
                client.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        address = f'http://127.0.0.1:{server.getsockname()[1]}/x.png'
        with pytest.raises(ImageError, match=rf'{address} could not be fetched \({error}'):
            load_image(address)
        thread.join(10)


@pytest.mark.parametrize('address', ['http://127.0.0.1:port/x.png', 'http://127.0.0.1:9/a b.png'])
def test_an_address_that_is_none_is_named(address):
    with pytest.raises(ImageError, match=r'could not be fetched \(InvalidURL: .*Check the addr'):
        load_image(address)


def test_a_data_uri_is_its_bytes(picture):
    file = io.BytesIO()
    picture.save(file, 'PNG')
    uri = 'data:image/png;base64,' + base64.b64encode(file.getvalue()).decode()
    assert load_image(uri).tobytes() == load_image(file.getvalue()).tobytes()


def test_a_data_uri_that_is_no_image_is_named_without_its_bytes():
    with pytest.raises(ImageError, match='^data:image/png;base64,... is not an image'):
        load_image('data:image/png;base64,' + 'QUJD' * 1000)


@pytest.mark.parametrize('address', ['ftp://127.0.0.1/x.png', 'file:///x.png', 's3://a/x.png'])
def test_an_address_of_another_protocol_is_refused(address):
    with pytest.raises(ImageError, match=f'^{address} is no address that is read; expected http'):
        load_image(address)


def test_a_pipe_and_a_device_are_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / 'pipe.png')
    for path in (tmp_path / 'pipe.png', '/dev/zero'):
        with pytest.raises(ImageError, match=f'^{path} is a pipe, a socket or a device'):
            load_image(path)


def test_a_folder_lists_its_pictures_by_name_and_nothing_else(tmp_path, picture):
    for name in ('b.png', 'a.JPG', 'c.webp'):
        picture.save(tmp_path / name)
    (tmp_path / 'notes.txt').write_text('')
    assert [f.name for f in list_images(tmp_path)] == ['a.JPG', 'b.png', 'c.webp']


def test_a_folder_without_pictures_says_what_is_expected(tmp_path):
    with pytest.raises(ImageError, match=r'no images in .*expected files that end in'):
        list_images(tmp_path)
