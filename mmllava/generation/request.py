"""Request of the engine, its answer, and the handle that its caller holds."""

from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from mmllava.generation.stream import stream_text


@dataclass
class Request:
    """Prompt and settings of one answer.

    Args:
        embeds: ``(L, D)``, of the whole prompt.
        keys: one for each position: a token id, or (image, index of the feature). Prompts share
            the keys and values of positions whose keys are equal from the first one on.
        settings: those in `mmllava.generation.sampling.ENGINE_SETTINGS`.
        stop: texts that end the answer and are cut off.
        seed: of the request's own generator; None draws one from torch's.
        logprobs: number of best tokens listed with each token's own logprob; None: no logprobs.
        ignore_eos: only a stop text or the limit ends the answer.
        deadline_s: seconds after which the answer ends as it is.
    """

    embeds: Tensor
    keys: Sequence[Hashable]
    settings: dict[str, Any] = field(default_factory=dict)
    stop: Sequence[str] = ()
    seed: int | None = None
    logprobs: int | None = None
    ignore_eos: bool = False
    deadline_s: float | None = None


@dataclass(frozen=True)
class TokenLogprobs:
    """Logprob of a token and of the best ones, before penalties and temperature."""

    id: int
    logprob: float
    top: list[tuple[int, float]]


@dataclass(frozen=True)
class Piece:
    """Text that is final, and the tokens that were read for it."""

    text: str
    ids: list[int]
    logprobs: list[TokenLogprobs]


@dataclass(frozen=True)
class Answer:
    """Whole answer; ``ids`` include the token that ended it.

    ``finish_reason`` is ``stop``, ``length``, ``cancelled`` or ``deadline``.
    """

    text: str
    ids: list[int]
    finish_reason: str
    prompt_tokens: int
    cached_tokens: int
    logprobs: list[TokenLogprobs]


class Handle:
    """Answer of one request in the making. Iterate it from one thread."""

    def __init__(self, engine: Any, request: Request, end_ids: Sequence[int]) -> None:
        self.request, self.cached_tokens = request, 0
        self.finish_reason: str | None = None
        self.error: BaseException | None = None
        self.cancelled = False
        self._engine, self._end_ids = engine, end_ids
        self._new: deque[tuple[int, TokenLogprobs | None]] = deque()
        self._ids: list[int] = []
        self._logprobs: list[TokenLogprobs] = []
        self._texts: list[str] = []
        self._pieces = self._read()

    def put(self, token: int, logprobs: TokenLogprobs | None) -> None:
        """Adds a token; called by the engine."""
        self._new.append((token, logprobs))

    def __iter__(self) -> Iterator[Piece]:
        return self._pieces

    def result(self) -> Answer:
        """Waits for the end of the answer.

        Raises:
            MMLlavaError: the request failed.
        """
        for _ in self._pieces:
            pass
        assert self.finish_reason is not None
        return Answer(
            ''.join(self._texts),
            self._ids,
            self.finish_reason,
            len(self.request.keys),
            self.cached_tokens,
            self._logprobs,
        )

    def cancel(self) -> None:
        """Ends the answer at its next token; may be called from any thread."""
        self.cancelled = True
        self._engine.wake()

    def _tokens(self) -> Iterator[int]:
        """Yields ids as they come, without the one that ends the text."""
        while self._engine.wait_for(lambda: self._new or self.finish_reason or self.error):
            if not self._new:
                break
            token, logprobs = self._new.popleft()
            self._ids.append(token)
            if logprobs is not None:
                self._logprobs.append(logprobs)
            if token not in self._end_ids:
                yield token
        if self.error is not None:
            raise self.error

    def _read(self) -> Iterator[Piece]:
        done = 0
        texts = stream_text(self._tokens(), self._engine.tokenizer.decode, self.request.stop)
        for text in texts:
            self._texts.append(text)
            yield Piece(text, self._ids[done:], self._logprobs[done:])
            done = len(self._ids)
        for _ in self._tokens():  # a stop text ends the text before the tokens
            pass
        if len(self._ids) > done:
            yield Piece('', self._ids[done:], self._logprobs[done:])
