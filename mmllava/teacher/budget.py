"""Keeps the budget of a run: its limit, and what it has spent."""

import asyncio
from dataclasses import dataclass

from mmllava.teacher.endpoint import Endpoint, Request


class Stopped(Exception):
    """The run ends here, on purpose; what has been answered is kept."""


@dataclass
class Spent:
    """Tokens and dollars, in requests that were answered or may have been billed."""

    tokens_in: int = 0
    tokens_out: int = 0
    unsure: int = 0  # requests that were cut off, counted at the most they can have cost
    usd: float = 0.0


class Budget:
    """Lets a request go only if its worst case fits into what is left.

    A request under way holds its worst case (its estimated tokens, and as many answered as
    it allows); once it is over, what the server counted takes that place. So the limit holds
    at any concurrency, up to the error of the estimate.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.spent = Spent()
        self._endpoint = endpoint
        self._held_tokens, self._held_usd = 0, 0.0
        self._changed = asyncio.Condition()

    async def hold(self, request: Request) -> None:
        """Waits until the request fits.

        Raises:
            Stopped: it does not fit, and nothing is under way that could make room.
        """
        tokens, usd = self._worst(request)
        async with self._changed:
            while not self._fits(tokens, usd):
                if not self._held_tokens:
                    raise Stopped(self._told(tokens, usd))
                await self._changed.wait()
            self._held_tokens += tokens
            self._held_usd += usd

    async def settle(self, request: Request, tokens: tuple[int, int] | None) -> None:
        """Gives back what was held.

        Args:
            request: as it was held.
            tokens: in and out, as the server counted; (0, 0) where it refused to work;
                None where nobody knows, which is counted as the worst case.
        """
        worst_tokens, worst_usd = self._worst(request)
        tokens_in, tokens_out = tokens or (request.tokens(), request.most_out(self._endpoint))
        self.spent.unsure += tokens is None
        self.spent.tokens_in += tokens_in
        self.spent.tokens_out += tokens_out
        self.spent.usd += self._endpoint.usd(tokens_in, tokens_out)
        async with self._changed:
            self._held_tokens -= worst_tokens
            self._held_usd = self._held_usd - worst_usd if self._held_tokens else 0.0
            self._changed.notify_all()

    def _worst(self, request: Request) -> tuple[int, float]:
        tokens, most_out = request.tokens(), request.most_out(self._endpoint)
        return tokens + most_out, self._endpoint.usd(tokens, most_out)

    def _fits(self, tokens: int, usd: float) -> bool:
        used = self.spent.tokens_in + self.spent.tokens_out + self._held_tokens + tokens
        limit, limit_usd = self._endpoint.max_total_tokens, self._endpoint.max_usd
        return (limit is None or used <= limit) and (
            limit_usd is None or self.spent.usd + self._held_usd + usd <= limit_usd
        )

    def _told(self, tokens: int, usd: float) -> str:
        used = self.spent.tokens_in + self.spent.tokens_out
        limits = []
        if self._endpoint.max_total_tokens is not None:
            limits.append(
                f'{used:,} of {self._endpoint.max_total_tokens:,} tokens are spent, and the next '
                f'request may take {tokens:,}'
            )
        if self._endpoint.max_usd is not None:
            limits.append(
                f'{self.spent.usd:.4f} of {self._endpoint.max_usd:.4f} USD are spent, and the next '
                f'request may cost {usd:.4f}'
            )
        return (
            f'the budget is reached: {"; ".join(limits)}. What was answered is kept; to go on, '
            'raise the budget and give the same command again.'
        )
