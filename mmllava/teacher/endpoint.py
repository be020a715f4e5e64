"""Floor 1. Where the teacher is, what one request says, and what it may cost."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mmllava.errors import ConfigError, unknown_name
from mmllava.teacher.files import read_object

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
        url = urlsplit(self.base_url)
        if url.scheme not in ('http', 'https') or not url.hostname:
            raise ConfigError(
                f'base_url is {self.base_url!r}, expected an address such as '
                'http://localhost:8000/v1.'
            )
        if url.username or url.password or url.query:
            raise ConfigError(
                'base_url holds a user, a password or a query, expected a bare address. Put the '
                f'key into the environment variable {KEY_NAME}.'
            )
        for name in ('concurrency', 'timeout_s', 'tries', 'max_usd', 'max_total_tokens'):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f'{name} is {value}, expected more than 0.')
        if self.tokens_field not in ('max_tokens', 'max_completion_tokens'):
            known = ['max_tokens', 'max_completion_tokens']
            raise unknown_name('tokens_field', self.tokens_field, known)
        if self.max_usd and None in (self.usd_per_million_in, self.usd_per_million_out):
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
        """What so many tokens cost, in dollars; 0 without prices."""
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
    stored = read_object(file, 'the settings of a teacher')
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
