#!/usr/bin/env python
"""Serves OpenAI's protocol with made-up answers, to try the teacher tools without an account.

  python tools/dev/teacher_server.py --port 8800
  # in another terminal: --base-url http://127.0.0.1:8800/v1 --model reference

Its answers have the shape that was asked for (that of the last example, two ratings for a
judge's question, a letter for ScienceQA), their words are drawn from the question, and they
are the same for the same question. It listens on this machine only.

--faults makes it fail on demand, the same way each time: each try of each request draws
a fate, from the request's words, the seed and the number of the try.

  --faults 429=0.2,500=0.1,cut=0.1,garbage=0.1,slow=0.05

429 too many requests, 500 an error, cut a connection that ends in the middle of the body,
garbage a body that is no answer, slow one that comes after --slow-s seconds.

GET /stats counts what it did; "repeated" is the number of answers beyond the first to the same
request. With --stall-after N the Nth answer is the last: what follows waits for ever.
Exit status: 0 ended by Ctrl-C or SIGTERM, 2 refused (the reason is on stderr).
"""

import argparse
import hashlib
import json
import re
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FAULTS = ('429', '500', 'cut', 'garbage', 'slow')
MODEL = 'reference-1'
_WORDS = re.compile(r"[A-Za-z][A-Za-z'-]{2,}")


def draw(*parts: Any) -> float:
    """Hashes the parts to a number in [0, 1)."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:6], 'big') / 2**48


def reply(messages: list[dict[str, str]]) -> str:
    """Makes an answer in the shape of the last example, of a judge's, or of ScienceQA's."""
    asked = messages[-1]['content']
    examples = [m['content'] for m in messages if m['role'] == 'assistant']
    example = examples[-1] if examples else ''
    if '[End of Assistant 2]' in asked:
        ratings = [5 + int(5 * draw(asked, n)) for n in range(2)]
        return f'{ratings[0]} {ratings[1]}\nBoth answers speak of {_some(asked, 3, "judge")}.'
    if 'The answer is' in example or 'The answer is' in messages[0]['content']:
        letters = re.findall(r'\(([A-E])\)', asked) or ['A']
        return f'The answer is {letters[int(len(letters) * draw(asked))]}.'
    turns = example.count('Question:')
    blocks = [
        f'Question:\nNumber {n + 1}: what is to say of {_some(asked, 2, ("q", n))}?\n===\n'
        f'Answer:\nThe picture shows {_some(asked, 12, ("a", n))}.'
        for n in range(turns)
    ]
    return '\n===\n'.join(blocks) or f'The picture shows {_some(asked, 40, "detail")}.'


def _some(text: str, count: int, salt: Any) -> str:
    """Draws words of the text's first lines, in an order that the salt decides."""
    words = _WORDS.findall(text[:2000].lower()) or ['nothing']
    return ' '.join(words[int(len(words) * draw(text, salt, n))] for n in range(count))


class TeacherServer(ThreadingHTTPServer):
    """HTTP server of the protocol; the tests use it too, as a context manager.

    Args:
        faults: fault -> share of the tries that meet it.
        delay_s: how long every answer takes.
        slow_s: how much longer a slow one takes.
        retry_after_s: what a 429 asks for.
        stall_after: number of answers after which it only waits.
        answer: messages -> text, in the place of `reply`.
        seed: of the faults.

    Attributes:
        answered: request (a digest of its body) -> how often it was answered.
        seen: what came in, a body each, only if ``keep`` is set.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self,
        port: int = 0,
        *,
        faults: dict[str, float] | None = None,
        delay_s: float = 0.0,
        slow_s: float = 30.0,
        retry_after_s: float = 0.05,
        stall_after: int | None = None,
        answer: Callable[[list[dict[str, str]]], str] = reply,
        seed: int = 0,
        keep: bool = False,
    ) -> None:
        super().__init__(('127.0.0.1', port), _Handler)
        self.faults, self.delay_s, self.slow_s = faults or {}, delay_s, slow_s
        self.retry_after_s, self.stall_after = retry_after_s, stall_after
        self.answer, self.seed, self.keep = answer, seed, keep
        self.lock, self.counts = threading.Lock(), Counter()
        self.tries: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.seen: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self.server_address[1]}/v1'

    def stats(self) -> dict[str, Any]:
        with self.lock:
            total = sum(self.answered.values())
            return dict(
                received=sum(self.tries.values()),
                answered=total,
                repeated=total - len(self.answered),
                faults=dict(self.counts),
            )

    def fate(self, digest: str) -> str:
        """Returns the fault that the next try of a request meets, or ''."""
        with self.lock:
            self.tries[digest] += 1
            number, drawn = draw(self.seed, digest, self.tries[digest]), 0.0
            for fault, share in self.faults.items():
                drawn += share
                if number < drawn:
                    self.counts[fault] += 1
                    return fault
        return ''

    def stalls(self) -> bool:
        with self.lock:
            return self.stall_after is not None and sum(self.answered.values()) >= self.stall_after

    def __enter__(self) -> 'TeacherServer':
        threading.Thread(target=self.serve_forever, kwargs=dict(poll_interval=0.05)).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores a client that has disconnected; reports anything else."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: TeacherServer
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path == '/stats':
            self._send(200, self.server.stats())
        elif self.path == '/v1/models':
            self._send(200, dict(object='list', data=[dict(id=MODEL, object='model')]))
        else:
            self._refuse(404, f'nothing at {self.path}; expected /v1/models or /stats')

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get('content-length', 0)))
        if self.path != '/v1/chat/completions':
            return self._refuse(404, f'nothing at {self.path}; expected /v1/chat/completions')
        try:
            body = json.loads(content)
            messages = [dict(role=m['role'], content=str(m['content'])) for m in body['messages']]
            assert messages
        except (ValueError, KeyError, TypeError, AssertionError):
            return self._refuse(400, 'expected a JSON object with a list of messages')
        digest = hashlib.sha256(content).hexdigest()
        if self.server.keep:
            self.server.seen.append(body)
        fault = self.server.fate(digest)
        time.sleep(self.server.delay_s + (self.server.slow_s if fault == 'slow' else 0))
        while self.server.stalls():
            time.sleep(0.05)
            if self._gone():
                break
        if fault == '429':
            self._refuse(429, 'too many requests', {'Retry-After': self.server.retry_after_s})
        elif fault == '500':
            self._refuse(500, 'something broke')
        elif not self._gone():
            self._complete(messages, digest, fault)

    def _complete(self, messages: list[dict[str, str]], digest: str, fault: str) -> None:
        text = self.server.answer(messages)
        usage = dict(
            prompt_tokens=sum(len(m['content'].split()) for m in messages),
            completion_tokens=len(text.split()),
        )
        usage['total_tokens'] = sum(usage.values())
        message = dict(role='assistant', content=text)
        whole = dict(
            id=f'chatcmpl-{digest[:24]}',
            object='chat.completion',
            created=int(time.time()),
            model=MODEL,
            choices=[dict(index=0, message=message, finish_reason='stop')],
            usage=usage,
        )
        if fault not in ('cut', 'garbage'):
            with self.server.lock:
                self.server.answered[digest] += 1
        self._send(200, whole, fault=fault)

    def _gone(self) -> bool:
        """Returns whether the client has closed the connection."""
        try:
            return self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b''
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _refuse(self, status: int, told: str, headers: dict[str, Any] | None = None) -> None:
        error = dict(message=told, type='error', code=None)
        self._send(status, dict(error=error), headers)

    def _send(
        self,
        status: int,
        value: Any,
        headers: dict[str, Any] | None = None,
        fault: str = '',
    ) -> None:
        content = json.dumps(value).encode()
        if fault == 'garbage':
            content = b'<html>' + content[:40]
        self.send_response(status)
        for name, said in (headers or {}).items():
            self.send_header(name, str(said))
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        if fault == 'cut':
            content, self.close_connection = content[: len(content) // 2], True
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Logs nothing: a line for each request would slow the client's measurements."""


def parse_faults(text: str) -> dict[str, float]:
    """``429=0.2,cut=0.1`` as shares."""
    faults = {}
    for part in filter(None, text.split(',')):
        name, _, share = part.partition('=')
        try:
            faults[name] = float(share)
        except ValueError:
            faults[name] = -1.0
        if name not in FAULTS or not 0 <= faults[name] <= 1:
            raise argparse.ArgumentTypeError(
                f'{part!r}; expected NAME=SHARE, NAME of {", ".join(FAULTS)}, SHARE from 0 to 1'
            )
    if sum(faults.values()) > 1:
        raise argparse.ArgumentTypeError(f'the shares of {text!r} sum to more than 1')
    return faults


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--port', type=int, default=0, help='default: any that is free')
    parser.add_argument('--faults', type=parse_faults, default={}, metavar='NAME=SHARE,...')
    parser.add_argument('--delay-s', type=float, default=0.0, help='how long an answer takes')
    parser.add_argument('--slow-s', type=float, default=30.0, help='how much longer a slow one')
    parser.add_argument('--retry-after-s', type=float, default=0.05, help='what a 429 asks for')
    parser.add_argument('--stall-after', type=int, help='answers, after which it only waits')
    parser.add_argument('--seed', type=int, default=0, help='of the faults')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        server = TeacherServer(**vars(args))
    except OSError as error:
        print(f'teacher_server: port {args.port}: {error.strerror}.', file=sys.stderr)
        return 2
    print(f'teacher_server: {server.url}', flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
    print(json.dumps(server.stats()))
    return 0


if __name__ == '__main__':
    sys.exit(main())
