"""Asking the teacher: the only door to the openai package.

Many requests at a time, each tried again where that may help, none paid for twice.
"""

import asyncio
import json
import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from mmllava.errors import ConfigError
from mmllava.teacher.budget import Budget, Stopped
from mmllava.teacher.cache import Answer, Cache
from mmllava.teacher.endpoint import KEY_NAME, Endpoint, Request

LONGEST_WAIT_S = 600.0  # a server that asks for more ends the run
BACK_OFF_S = (0.5, 60.0)  # the first wait, and the longest of our own
IN_A_ROW = 20  # requests without an answer, after which the endpoint is thought to be down
_SHOWN = 300  # characters of a server's message
PLACEHOLDER = 8  # a shorter key (EMPTY, none) is none, and is not looked for in texts
_AGAIN = (408, 409, 429)  # and 5xx: worth another try
_WRONG = {  # the endpoint is not what was meant: no other request will do better
    401: 'Is the key in {} right for this address?',
    403: 'May the key in {} use this model?',
    404: 'Check base_url (it often ends in /v1) and model.',
}


@dataclass(frozen=True)
class Failure:
    """A request without an answer.

    ``kind`` is busy, server, timeout, connection, garbage or refused.
    """

    kind: str
    message: str


class _TryAgain(Exception):
    """One try failed; ``tokens`` as `Budget.settle` takes them."""

    def __init__(
        self,
        kind: str,
        message: str,
        tokens: tuple[int, int] | None = (0, 0),
        wait_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind, self.tokens, self.wait_s = kind, tokens, wait_s


class Teacher:
    """Asks an endpoint, through a cache.

    Args:
        endpoint: where, and with which limits.
        cache: folder of the answers so far; a request in it is not sent.
        key_name: environment variable with the key; without one, none is sent that means
            anything, which servers on one's own machine accept.

    Attributes:
        counts: what became of requests (``answered``, ``cached``, ``failed``) and of tries
            (``sent``, and the kinds of `Failure`).
        models: the names that the server gave to what answered.
        stopped: why the run ended early, or ''.

    Raises:
        ConfigError: openai is not installed, the key cannot be sent, or a setting holds it.
    """

    def __init__(self, endpoint: Endpoint, cache: Path, key_name: str = KEY_NAME) -> None:
        try:
            import openai
        except ImportError as error:
            raise ConfigError(
                "the package openai is not installed. Run pip install 'mmllava[teacher]'."
            ) from error
        self._openai = openai
        self._key, self._key_name = _read_key(key_name), key_name
        if self._hide(repr(endpoint)) != repr(endpoint):
            raise ConfigError(
                f'a setting of the teacher holds the key of {key_name}; take it out: '
                'settings are written into reports.'
            )
        self.endpoint, self.cache, self.budget = endpoint, Cache(cache), Budget(endpoint)
        self.counts: Counter[str] = Counter()
        self.models: Counter[str] = Counter()
        self.stopped = ''
        self._pending: dict[str, asyncio.Future] = {}
        self._in_a_row = 0

    def ask_all(
        self, requests: Iterable[Request], receive: Callable[[Request, Answer | Failure], Any]
    ) -> None:
        """Asks each, and hands over each result as it comes, in any order.

        Ends early, with ``stopped`` saying why, where the budget is reached, the endpoint is
        wrong or down, or on Ctrl-C or SIGTERM: requests under way are waited for, so that
        their answers are kept. A second signal ends at once.
        """
        asyncio.run(self._ask_all(iter(requests), receive))

    def ask(self, requests: Iterable[Request]) -> dict[str, Answer | Failure]:
        """The results by the requests' ids; what was not asked before the end is not in it."""
        results: dict[str, Answer | Failure] = {}
        self.ask_all(requests, lambda request, result: results.update({request.id: result}))
        return results

    async def _ask_all(self, requests: Iterator[Request], receive: Callable) -> None:
        self._end = asyncio.Event()
        if self.stopped:
            return
        self.cache.check()
        self._client = self._openai.AsyncOpenAI(
            api_key=self._key or 'none',
            base_url=self.endpoint.base_url,
            timeout=self.endpoint.timeout_s,
            max_retries=0,
        )
        workers = [self._work(requests, receive) for _ in range(self.endpoint.concurrency)]
        async with self._client:
            with self._signals():
                ends = await asyncio.gather(*workers, return_exceptions=True)
        for error in filter(None, ends):
            raise error

    async def _work(self, requests: Iterator[Request], receive: Callable) -> None:
        for request in requests:
            if self._end.is_set():
                return
            try:
                receive(request, await self._ask_once(request))
            except Stopped as stop:
                self._stop(str(stop))
                return
            except Exception as error:  # a full disk; what others are asking is waited for
                self._stop(f'{type(error).__name__} here, not at the endpoint.')
                raise

    async def _ask_once(self, request: Request) -> Answer | Failure:
        """From the cache, from the same request under way, or from the endpoint."""
        key = request.key(self.endpoint)
        while key in self._pending:
            await asyncio.wait([self._pending[key]])
        answer = self.cache.get(key)
        if answer is not None:
            self.counts['cached'] += 1
            self.models[answer.model] += 1
            await asyncio.sleep(0)  # a signal may want to be heard
            return answer
        self._pending[key] = asyncio.get_running_loop().create_future()
        try:
            result = await self._ask(request)
            if isinstance(result, Answer):
                self.cache.put(key, request.body(self.endpoint), result)
        finally:
            self._pending.pop(key).cancel()
        self._count(result)
        return result

    def _count(self, result: Answer | Failure) -> None:
        if isinstance(result, Answer):
            self.counts['answered'] += 1
            self.models[result.model] += 1
            self._in_a_row = 0
            return
        self.counts['failed'] += 1
        self._in_a_row += 1
        if self._in_a_row >= IN_A_ROW:
            self._stop(
                f'{IN_A_ROW} requests in a row had no answer, the last: {result.message} What was '
                'answered is kept; give the same command again once the endpoint works.'
            )

    async def _ask(self, request: Request) -> Answer | Failure:
        """Tries until there is an answer, or no try is left."""
        for number in range(self.endpoint.tries):
            await self.budget.hold(request)
            tokens: tuple[int, int] | None = None
            try:
                if self._end.is_set():
                    raise Stopped(self.stopped)
                self.counts['sent'] += 1
                answer = await self._send(request)
                tokens = answer.tokens_in, answer.tokens_out
                return answer
            except _TryAgain as error:
                tokens, failed = error.tokens, error
                self.counts[error.kind] += 1
            except Stopped:
                tokens = (0, 0)
                raise
            finally:
                await self.budget.settle(request, tokens)
            if failed.kind == 'refused' or number + 1 == self.endpoint.tries:
                return Failure(failed.kind, str(failed))
            await self._wait(number, failed)
        raise AssertionError('an endpoint has at least one try')

    async def _wait(self, number: int, failed: _TryAgain) -> None:
        """Until the next try: as long as the server asks, or twice as long as the last time."""
        first, longest = BACK_OFF_S
        wait_s = min(first * 2**number, longest) * random.uniform(0.75, 1)
        if failed.wait_s is not None:
            wait_s = failed.wait_s
        if wait_s > LONGEST_WAIT_S:
            raise Stopped(
                f'the endpoint asks to wait {wait_s:.0f} s: {failed} What was answered is kept; '
                'give the same command again later.'
            )
        try:
            await asyncio.wait_for(self._end.wait(), wait_s)
        except asyncio.TimeoutError:
            return
        raise Stopped(self.stopped)

    async def _send(self, request: Request) -> Answer:
        """One try.

        Raises:
            _TryAgain: it failed.
            Stopped: no request to this endpoint can do better.
        """
        openai, body = self._openai, request.body(self.endpoint)
        names = ('model', 'messages', 'temperature', self.endpoint.tokens_field)
        known = {name: body.pop(name) for name in names if name in body}
        create = self._client.chat.completions.with_raw_response.create
        try:
            raw = await asyncio.wait_for(create(**known, extra_body=body), self.endpoint.timeout_s)
        except (openai.APITimeoutError, asyncio.TimeoutError):
            told = f'no answer within {self.endpoint.timeout_s:g} s (timeout_s).'
            raise _TryAgain('timeout', told, None) from None
        except openai.APIStatusError as error:
            raise self._refusal(error) from None
        except openai.APIConnectionError as error:
            cause = type(error.__cause__).__name__
            unsent = cause.startswith('Connect')  # ConnectError, ConnectTimeout: nothing arrived
            told = f'the connection to {self.endpoint.base_url} failed ({cause}).'
            raise _TryAgain('connection', told, (0, 0) if unsent else None) from None
        return self._read(raw.http_response.content, request)

    def _refusal(self, error: Any) -> Exception:
        """Decides what a status of 4xx or 5xx means for the run."""
        status, told = error.status_code, self._hide(str(error.message))[:_SHOWN]
        told = f'status {status}: {told}'
        if status in _WRONG or error.code == 'insufficient_quota':
            hint = _WRONG.get(status, 'The account has no credit left.').format(self._key_name)
            return Stopped(f'the endpoint answered with {told}. {hint} What was answered is kept.')
        if status in _AGAIN or status >= 500:
            kind = 'busy' if status == 429 else 'server'
            return _TryAgain(kind, told, wait_s=_retry_after(error.response.headers))
        return _TryAgain('refused', told)

    def _read(self, content: bytes, request: Request) -> Answer:
        """The answer in a body."""
        try:
            whole = json.loads(content)
            choice = whole['choices'][0]
            text = choice['message']['content'] or ''
            usage = whole.get('usage') or {}
            tokens = usage.get('prompt_tokens'), usage.get('completion_tokens')
            model = str(whole.get('model') or self.endpoint.model)
            if not isinstance(text, str) or not all(n is None or type(n) is int for n in tokens):
                raise TypeError
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            start = self._hide(content.decode('utf-8', 'replace'))[:80]
            told = f'the body is not that of a chat completion: {start!r}.'
            raise _TryAgain('garbage', told, None) from None
        text = self._hide(text.encode('utf-8', 'replace').decode())
        guess = Request('', (('assistant', text),), 0, None).tokens()
        return Answer(
            text,
            self._hide(str(choice.get('finish_reason') or 'stop')),
            self._hide(model),
            request.tokens() if tokens[0] is None else tokens[0],
            guess if tokens[1] is None else tokens[1],
        )

    def _hide(self, text: str) -> str:
        """Without the key, should a server repeat it."""
        return text.replace(self._key, '[key]') if len(self._key) >= PLACEHOLDER else text

    def _stop(self, why: str) -> None:
        self.stopped = self.stopped or why
        self._end.set()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM stop cleanly, the first time."""
        loop, names = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)

        def heard() -> None:
            release()
            self._stop(
                'stopped by a signal, once the requests under way were answered. To go on, give '
                'the same command again.'
            )

        def release() -> None:
            for name in names:
                loop.remove_signal_handler(name)

        try:
            for name in names:
                loop.add_signal_handler(name, heard)
        except (ValueError, RuntimeError, NotImplementedError):
            pass  # not the main thread, or no Unix
        try:
            yield
        finally:
            release()


def _read_key(name: str) -> str:
    """The key in an environment variable; no message repeats either."""
    if not re.fullmatch(r'[A-Za-z_]\w*', name):
        raise ConfigError(
            '--key-name is not the name of an environment variable. Expected the name, such as '
            f'{KEY_NAME}; the key itself does not belong on a command line.'
        )
    if name != KEY_NAME and name not in os.environ:
        raise ConfigError(
            'the environment variable that --key-name names is not set. Export it, or leave '
            '--key-name out.'
        )
    key = os.environ.get(name, '').strip()
    if not key.isascii() or not key.isprintable() or ' ' in key:
        raise ConfigError(
            'the key in the environment has a space, a line break or a letter beyond ASCII, '
            'which cannot be sent. Copy it again.'
        )
    return key


def _retry_after(headers: Any) -> float | None:
    """Seconds that the server asks to wait; retry-after is a number or a date."""
    try:
        return max(float(headers['retry-after-ms']) / 1000, 0.0)
    except (KeyError, ValueError):
        pass
    asked = headers.get('retry-after', '')
    try:
        return max(float(asked), 0.0)
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(asked).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError):
        return None
