"""Reads the bytes of an image from an http(s) address or a data URI, within limits."""

import base64
import binascii
import contextlib
import http.client
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from functools import partial

from mmllava.errors import ImageError
from mmllava.version import __version__

MAX_BYTES = 128 << 20  # of one encoded image
DEADLINE_S = 60.0  # of one address: connection, redirects, headers and body together
USER_AGENT = f'mmllava/{__version__}'  # some hosts refuse urllib's own
CHUNK_BYTES = 1 << 16
SHOWN = 200  # characters of an address in a message


def fetch(address: str, max_bytes: int = MAX_BYTES, deadline_s: float = DEADLINE_S) -> bytes:
    """Downloads one file over http or https.

    Redirects are followed, to http(s) only. The deadline is one for the whole download, however
    slowly the bytes come. Only the name's resolution has the system's own, and each address of
    the name is tried anew.

    Raises:
        ImageError: no answer, an HTTP error, more than ``max_bytes``, or past ``deadline_s``.
    """
    shown = shorten(address)
    with _Deadline(deadline_s) as deadline:
        try:
            request = urllib.request.Request(address, headers={'User-Agent': USER_AGENT})
            with _opener(deadline).open(request, timeout=deadline_s) as answer:
                body = _read(answer, max_bytes, shown)
        except ImageError:
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            if not deadline.is_past():  # else the error is of our own shutdown
                raise ImageError(
                    f'{shown} could not be fetched ({_reason(error)}); expected the address of '
                    'one image. Check the address, try again, or download it and give its path.'
                ) from error
        if deadline.is_past():  # a body without a length that is shut down reads like a whole one
            raise ImageError(
                f'{shown} could not be fetched: it took longer than {deadline_s:g} s. '
                'Try again, or download it and give its path.'
            )
    return body


def decode_data_uri(uri: str, max_bytes: int = MAX_BYTES) -> bytes:
    """Decodes ``data:[type][;base64],...``; the type is not used, the bytes tell the format.

    Raises:
        ImageError: no comma, not base64, or more than ``max_bytes``.
    """
    head, comma, payload = uri.partition(',')
    if not comma or not head.lower().endswith(';base64'):
        raise ImageError(
            f'{shorten(uri)} is no data URI of an image; expected data:image/png;base64,...'
        )
    if len(payload) // 4 * 3 > max_bytes + 2:
        raise ImageError(_too_large('a data URI', max_bytes))
    try:
        return base64.b64decode(urllib.parse.unquote(payload), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(
            f'{shorten(uri)} is not base64 ({error}); expected data:image/png;base64,...'
        ) from error


def shorten(source: str) -> str:
    """Cuts an address to what a message can hold; of a data URI, only its type is shown."""
    if source[:5].lower() == 'data:':
        source = source.partition(',')[0] + ',...'
    return source if len(source) <= SHOWN else source[:SHOWN] + '...'


def _read(answer: http.client.HTTPResponse, max_bytes: int, shown: str) -> bytes:
    body = bytearray()
    while chunk := answer.read(CHUNK_BYTES):
        body += chunk
        if len(body) > max_bytes:
            raise ImageError(_too_large(shown, max_bytes))
    if answer.length:  # read(n) does not tell of a body that breaks off
        raise http.client.IncompleteRead(bytes(body), answer.length)
    return bytes(body)


def _too_large(name: str, max_bytes: int) -> str:
    return (
        f'{name} holds more than {max_bytes} bytes; expected one image. Shrink it, '
        'or save it to a file and give its path.'
    )


def _reason(error: Exception) -> object:
    if isinstance(error, urllib.error.HTTPError):
        return error
    if isinstance(error, urllib.error.URLError):
        return error.reason
    return f'{type(error).__name__}: {error}'


class _Deadline:
    """Shuts sockets down at a moment, whatever is waited for: a handshake, a header, a body."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._shut_down)
        self._timer.daemon = True

    def __enter__(self) -> '_Deadline':
        self._timer.start()
        return self

    def __exit__(self, *exc_info) -> None:
        self._timer.cancel()
        self._timer.join()
        for sock in self._sockets:
            sock.close()

    def is_past(self) -> bool:
        return time.monotonic() >= self._end

    def remaining(self) -> float:
        return max(self._end - time.monotonic(), 0.001)

    def watch(self, sock: socket.socket) -> None:
        self._sockets.append(sock.dup())  # the other handle goes to TLS, or is closed early
        if self.is_past():
            self._shut_down()

    def _shut_down(self) -> None:
        for sock in self._sockets:
            with contextlib.suppress(OSError):  # closed by the other side
                sock.shutdown(socket.SHUT_RDWR)


class _HTTPConnection(http.client.HTTPConnection):
    deadline: _Deadline

    def connect(self) -> None:
        self.timeout = self.deadline.remaining()
        super().connect()
        self.deadline.watch(self.sock)


class _HTTPSConnection(http.client.HTTPSConnection, _HTTPConnection):
    """Watches the socket before the TLS handshake: HTTPSConnection.connect calls the one above."""


class _HTTPHandler(urllib.request.HTTPHandler):
    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self.deadline = deadline

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_connection, _HTTPConnection, self.deadline), request)


class _HTTPSHandler(urllib.request.HTTPSHandler):
    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self.deadline = deadline

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_connection, _HTTPSConnection, self.deadline), request)


def _connection(kind: type[_HTTPConnection], deadline: _Deadline, host: str, **kwargs):
    connection = kind(host, **kwargs)
    connection.deadline = deadline
    return connection


def _opener(deadline: _Deadline) -> urllib.request.OpenerDirector:
    """Builds an opener without urllib's handlers of ftp:, file: and data:."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        _HTTPHandler(deadline),
        _HTTPSHandler(deadline),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener
