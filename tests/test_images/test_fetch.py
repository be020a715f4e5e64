"""Addresses and data URIs are read within limits, whatever the other side does."""

import base64
import contextlib
import re
import socket
import threading
import time

import pytest

from mmllava.errors import ImageError
from mmllava.images.fetch import USER_AGENT, decode_data_uri, fetch

OK = b'HTTP/1.1 200 OK\r\n'


@contextlib.contextmanager
def serving(*parts, again=b'', pause=0.0):
    """Serves each connection the parts in turn; then `again` until the client leaves."""
    requests, stop = [], threading.Event()

    def answer(client, part):
        with client, contextlib.suppress(OSError):
            requests.append(client.recv(4096))
            client.sendall(part)
            while again and not stop.wait(pause):
                client.sendall(again)

    def serve():
        for part in parts:
            client, _ = server.accept()
            answer(client, part)

    with socket.create_server(('127.0.0.1', 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f'http://127.0.0.1:{server.getsockname()[1]}/x.png', requests
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def assert_refused(address, message, **limits):
    with pytest.raises(ImageError, match=f'^{re.escape(address)} {message}'):
        fetch(address, **limits)


def test_a_body_is_returned_and_the_client_says_its_name():
    with serving(OK + b'Content-Length: 3\r\n\r\nabc') as (address, requests):
        assert fetch(address) == b'abc'
    assert f'User-Agent: {USER_AGENT}\r\n'.encode() in requests[0]


@pytest.mark.parametrize(
    'head',
    [OK + b'\r\n', OK + b'Content-Length: 100\r\n\r\n', OK + b'X-Header: ', b''],
    ids=['body', 'body with a length', 'header', 'status line'],
)
def test_a_server_that_drips_is_left_at_the_deadline(head):
    with serving(head, again=b'a', pause=0.05) as (address, _):
        start = time.monotonic()
        assert_refused(address, 'could not be fetched: it took longer than 0.3 s', deadline_s=0.3)
        assert time.monotonic() - start < 2


def test_a_body_without_end_is_left_at_the_limit():
    with serving(OK + b'\r\n', again=bytes(1 << 16)) as (address, _):
        assert_refused(address, 'holds more than 1000000 bytes', max_bytes=1_000_000)


def test_a_redirect_is_followed_over_http():
    found = b'HTTP/1.1 302 Found\r\nLocation: /y.png\r\nContent-Length: 0\r\n\r\n'
    with serving(found, OK + b'Content-Length: 1\r\n\r\na') as (address, requests):
        assert fetch(address) == b'a'
    assert requests[1].startswith(b'GET /y.png ')


@pytest.mark.parametrize('target', ['ftp://127.0.0.1/x', 'file:///etc/hostname', 'data:,x'])
def test_a_redirect_to_another_protocol_is_refused(target):
    found = f'HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n'
    with serving(found.encode()) as (address, _):
        assert_refused(address, 'could not be fetched')


def test_an_http_error_is_named():
    answer = b'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n'
    with serving(answer) as (address, _):
        assert_refused(address, r'could not be fetched \(HTTP Error 404: Not Found\)')


@pytest.mark.parametrize('address', ['http://[', 'http://127.0.0.1/\u00e9.png'])
def test_an_address_that_cannot_be_sent_is_named(address):
    assert_refused(address, 'could not be fetched')


def test_a_data_uri_is_decoded_whatever_its_type():
    payload = base64.b64encode(b'abcd').decode()
    assert decode_data_uri(f'data:image/png;base64,{payload}') == b'abcd'
    assert decode_data_uri(f'DATA:;BASE64,{payload.replace("=", "%3D")}') == b'abcd'


@pytest.mark.parametrize(
    ('uri', 'message'),
    [
        ('data:image/png;base64', 'is no data URI of an image; expected data:image/png;base64'),
        ('data:image/png,abc', 'is no data URI of an image; expected data:image/png;base64'),
        ('data:image/png;base64,ab*d', 'is not base64'),
        ('data:image/png;base64,' + 'AAAA' * 100, 'holds more than 100 bytes'),
    ],
)
def test_a_data_uri_that_is_none_is_refused(uri, message):
    with pytest.raises(ImageError, match=message):
        decode_data_uri(uri, max_bytes=100)
