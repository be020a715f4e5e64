"""Describes the teacher's endpoint: its address, the body of a request, its prices."""

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mmllava import io
from mmllava.errors import ConfigError, unknown_name

KEY_NAME = 'OPENAI_API_KEY'  # the environment variable that openai's own package reads
MESSAGE_TOKENS = 4  # what a chat template puts around a message
_PIECES = re.compile(r'[A-Za-z]{1,6}|\d{1,3}|[^\sA-Za-z\d]')


@dataclass(frozen=True)
class Endpoint:
    """A server that speaks OpenAI's protocol, and a model on it.

    The key is not part of it: it comes from the environment and stays in
    `mmllava.teacher.client`.
    """

    base_url: str
    model: str
    concurrency: int = 16  # requests under way at a time
    timeout_s: float = 120.0  # of one try
    tries: int = 6  # of one request
    tokens_field: str = 'max_tokens'  # newer hosted models want max_completion_tokens
    extra: Mapping[str, Any] = field(default_factory=dict)  # more fields of every request
    usd_per_million_in: float | None = None
    usd_per_million_out: float | None = None
    max_usd: float | None = None  # the budget of one run
    max_total_tokens: int | None = None  # in and out

    def __post_init__(self) -> None:
        self._check_types()
        self._check_url()
        for name in ('concurrency', 'timeout_s', 'tries', 'max_usd', 'max_total_tokens'):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f'{name} is {value}, expected more than 0.')
        if self.tokens_field not in ('max_tokens', 'max_completion_tokens'):
            known = ['max_tokens', 'max_completion_tokens']
            raise unknown_name('tokens_field', self.tokens_field, known)
        fixed = [name for name in ('model', 'messages', 'stream', 'n') if name in self.extra]
        if fixed:
            raise ConfigError(
                f'extra of the teacher has {fixed[0]!r}, which is not free: every request has its '
                'own messages, and one whole answer. Take it out.'
            )
        self._check_prices()

    def _check_url(self) -> None:
        if '@' in self.base_url or '?' in self.base_url:  # not repeated: it may hold a secret
            raise ConfigError(
                'base_url holds a user, a password or a query, expected a bare address. Put the '
                f'key into the environment variable {KEY_NAME}.'
            )
        try:
            url = urlsplit(self.base_url)
            good = url.scheme in ('http', 'https') and url.hostname and url.port != 0
        except ValueError:  # a port that is no number, half an IPv6 address
            good = False
        if not good or not self.base_url.isprintable() or ' ' in self.base_url:
            raise ConfigError(
                f'base_url is {self.base_url!r}, expected an address such as '
                'http://localhost:8000/v1.'
            )

    def _check_prices(self) -> None:
        prices = self.usd_per_million_in, self.usd_per_million_out
        if not all(price is None or 0 <= price < math.inf for price in prices):
            raise ConfigError(f'the prices are {prices}, expected 0 or more.')
        if (prices[0] is None) != (prices[1] is None):
            raise ConfigError(
                'one price is missing: set both usd_per_million_in and usd_per_million_out.'
            )
        if self.max_usd and None in prices:
            raise ConfigError(
                'max_usd needs prices: set usd_per_million_in and usd_per_million_out to what '
                'the endpoint charges, or limit max_total_tokens in its place.'
            )

    def _check_types(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            wanted = Mapping if item.name == 'extra' else item.type
            whole = isinstance(value, int) and isinstance(1.0, wanted)  # 60 is a float too
            if isinstance(value, bool) or not (whole or isinstance(value, wanted)):
                told = getattr(item.type, '__name__', item.type)
                raise ConfigError(f'{item.name} of the teacher is {value!r}, expected {told}.')

    def usd(self, tokens_in: int, tokens_out: int) -> float:
        """Computes the cost of so many tokens, in dollars; 0 without prices."""
        prices = self.usd_per_million_in or 0, self.usd_per_million_out or 0
        return (tokens_in * prices[0] + tokens_out * prices[1]) / 1e6


@dataclass(frozen=True)
class Request:
    """One thing to ask.

    ``attempt`` is not sent: it makes another key of the same words, for one who wants a
    second answer and not the cached one.
    """

    id: str
    messages: tuple[tuple[str, str], ...]  # (role, text)
    max_tokens: int
    temperature: float | None  # None: not sent; some hosted models refuse any
    attempt: int = 0

    def body(self, endpoint: Endpoint) -> dict[str, Any]:
        """The JSON that is posted."""
        body: dict[str, Any] = dict(
            model=endpoint.model,
            messages=[dict(role=role, content=text) for role, text in self.messages],
        )
        body[endpoint.tokens_field] = self.max_tokens
        if self.temperature is not None:
            body['temperature'] = self.temperature
        return {**body, **endpoint.extra}

    def key(self, endpoint: Endpoint) -> str:
        """Names the request in the cache: address, every field that is sent, and attempt."""
        whole = [endpoint.base_url.rstrip('/'), self.body(endpoint), self.attempt]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()

    def most_out(self, endpoint: Endpoint) -> int:
        """Returns the limit of new tokens, by whichever name the endpoint is sent it."""
        names = ('max_tokens', 'max_completion_tokens')
        given = [endpoint.extra[name] for name in names if name in endpoint.extra]
        return max([self.max_tokens, *(n for n in given if isinstance(n, int))])

    def tokens(self) -> int:
        """About how many tokens go in."""
        return sum(estimate_tokens(text) + MESSAGE_TOKENS for _, text in self.messages)


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has; rather a few too many.

    Counted as up to 6 letters, up to 3 digits, or one other character each, which is near
    what byte-pair tokenizers of 100,000 words do to English and to coordinates.
    """
    return len(_PIECES.findall(text))


def read_endpoint(file: Path | None, **settings: Any) -> Endpoint:
    """An endpoint from a JSON file, changed by settings that are not None, then the environment.

    Where neither says it, ``base_url`` is ``OPENAI_BASE_URL`` and ``model`` ``TEACHER_MODEL``.

    Raises:
        ConfigError: a setting is missing, unknown or cannot work.
        DataError: the file cannot be read.
    """
    stored = _read(file) if file else {}
    given = {**stored, **{name: value for name, value in settings.items() if value is not None}}
    for name, variable in (('base_url', 'OPENAI_BASE_URL'), ('model', 'TEACHER_MODEL')):
        given.setdefault(name, os.environ.get(variable))
        if not given[name]:
            raise ConfigError(
                f'no {name} of the teacher; expected --{name.replace("_", "-")}, a line in '
                f'--teacher FILE, or the environment variable {variable}.'
            )
    return Endpoint(**given)


def _read(file: Path) -> dict[str, Any]:
    stored = io.read_json(file, expected='the settings of a teacher as an object in JSON')
    known = [item.name for item in fields(Endpoint)]
    for name in stored:
        if 'key' in name.lower() and name not in known:
            raise ConfigError(
                f'{file} has {name!r}: a key does not belong into a file. Take it out, and put it '
                f'into the environment variable {KEY_NAME}.'
            )
        if name not in known:
            raise unknown_name('setting of a teacher', name, known)
    return stored
