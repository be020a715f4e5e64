"""Answers requests that join and leave at any step, and share what their prompts begin with.

Own slots over one growing cache, not transformers' continuous batching: that one takes token ids
only, so that image features would need ids of their own above the vocabulary, and its interface
is private and differs between transformers 4.57 and 5. Slots need a cache with ``update`` and
a mask, both public; a step attends over the positions in use. `mmllava.generation.loop` stays as
the plain way, which the tests compare with.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from mmllava.errors import ConfigError, GenerationError, PromptError
from mmllava.generation.prefixes import PrefixStore
from mmllava.generation.request import Handle, Request, TokenLogprobs
from mmllava.generation.sampling import Sampler
from mmllava.generation.slots import SlotCache
from mmllava.generation.stop import StopRule

#: positions of prompts that are read between two decode steps
PREFILL_CHUNK = 512


class SlotModel(Protocol):
    """Describes the language model as the engine sees it, besides its ``config``."""

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids ``(...)`` to embeddings ``(..., D)``."""

    def limit_tokens(self, settings: dict[str, Any], length: int) -> dict[str, Any]:
        """Limits ``max_new_tokens`` to the context; raises PromptError if there is no room."""

    def extend_slots(self, embeds: Tensor, cache: SlotCache, slots: Sequence[int]) -> Tensor:
        """Logits ``(B, V)``, float32, after ``embeds`` ``(B, L, D)`` in these slots."""


@dataclass(eq=False)
class _Job:
    """A request on its way."""

    handle: Handle
    sampler: Sampler
    rule: StopRule
    limit: int
    deadline: float | None
    answer: list[int] = field(default_factory=list)

    @property
    def keys(self) -> list[Any]:
        """Keys of the prompt and of the new tokens."""
        return [*self.handle.request.keys, *self.answer]

    @property
    def size(self) -> int:
        """Positions that it may take."""
        return len(self.handle.request.keys) + self.limit


class Engine:
    """Generation of many answers at once.

    Without a thread of its own, waiting for an answer drives `step`; `start` begins a thread.

    Args:
        language: see `SlotModel`.
        tokenizer: decodes answers and names the ids that end them.
        slots: requests that are answered at once; others wait.
        cache_bytes: keys and values of running requests and of prompts that are kept;
            None: two contexts of kept prompts, and no limit for running ones.
    """

    def __init__(
        self, language: Any, tokenizer: Any, slots: int = 8, cache_bytes: int | None = None
    ) -> None:
        if type(slots) is not int or slots < 1:
            raise ConfigError(f'slots is {slots!r}, expected a whole number from 1 on.')
        self.language, self.tokenizer, self.slots = language, tokenizer, slots
        self.cache_bytes, config = cache_bytes, language.config
        heads = getattr(config, 'num_key_value_heads', None) or config.num_attention_heads
        width = getattr(config, 'head_dim', None) or (
            config.hidden_size // config.num_attention_heads
        )
        self._position_elements = 2 * config.num_hidden_layers * heads * width
        self._cache, self._prefixes = SlotCache(), PrefixStore(0)
        self._waiting: deque[_Job] = deque()
        self._running: list[_Job] = []  # a slot each, in order
        self._reading: _Job | None = None  # in the slot after them
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._closed = False
        self._counts = dict(requests=0, tokens=0, prompt_tokens=0, cached_tokens=0)

    # From any thread -------------------------------------------------------

    def submit(self, request: Request) -> Handle:
        """Accepts a request.

        Raises:
            ConfigError: settings that the engine does not follow.
            PromptError: the prompt does not fit the context or the cache.
        """
        count, device = len(request.keys), request.embeds.device
        if request.embeds.ndim != 2 or len(request.embeds) != count or not count:
            raise PromptError(
                f'embeds are of shape {tuple(request.embeds.shape)} and there are {count} keys, '
                'expected (L, D) and a key for each of the L positions.'
            )
        rules = [StopRule(self.tokenizer, stop) for stop in request.stop or (None,)]
        ends = {token for rule in rules for token in rule.ids}
        if request.ignore_eos:
            ends.discard(self.tokenizer.eos_id)
        rule = StopRule(self.tokenizer)
        rule.ids = tuple(sorted(ends))
        rule.texts = tuple(rule_.text for rule_ in rules if rule_.text)
        settings = self.language.limit_tokens(request.settings, count)
        vocab_size = self.language.config.vocab_size
        sampler = Sampler(settings, self.tokenizer, vocab_size, rule.ids, request.seed, device)
        handle = Handle(self, request, rule.ids)
        deadline = None if request.deadline_s is None else time.monotonic() + request.deadline_s
        job = _Job(handle, sampler, rule, settings['max_new_tokens'], deadline)
        with self._lock:
            if self._closed:
                raise ConfigError('the engine is closed. Make another one.')
            if self.cache_bytes is not None and self._bytes(job.size) > self.cache_bytes:
                raise PromptError(
                    f'prompt and answer take {job.size} positions, {self._bytes(job.size)} bytes '
                    f'of keys and values, and cache_bytes is {self.cache_bytes}. Ask a shorter '
                    'question, or set a smaller max_new_tokens or a larger cache_bytes.'
                )
            self._waiting.append(job)
            self._counts['requests'] += 1
            self._changed.notify_all()
        return handle

    def wake(self) -> None:
        """Has waiting threads look again."""
        with self._lock:
            self._changed.notify_all()

    def wait_for(self, ready: Callable[[], Any]) -> bool:
        """Waits until ``ready()``; drives `step` where no thread does."""
        while True:
            with self._lock:
                if ready():
                    return True
                if self._thread is not None and self._thread is not threading.current_thread():
                    self._changed.wait(1)
                elif not self.step() and not ready():
                    return False

    @property
    def stats(self) -> dict[str, int]:
        """Counts since the beginning, requests now, and bytes of keys and values held."""
        with self._lock:
            running = len(self._running) + (self._reading is not None)
            held = dict(slot_bytes=self._cache.nbytes, prefix_bytes=self._prefixes.nbytes)
            return dict(self._counts, running=running, waiting=len(self._waiting), **held)

    def start(self) -> None:
        """Begins a thread that answers, until `close`."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Cancels all requests, ends the thread and frees the memory."""
        with self._lock:
            self._closed = True
            for job in [*self._waiting, *self._running, *filter(None, [self._reading])]:
                job.handle.finish_reason = job.handle.finish_reason or 'cancelled'
            self._waiting.clear()
            self._running, self._reading = [], None
            self._cache.clear()
            self._prefixes.clear()
            thread = self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join()

    def forget(self) -> None:
        """Drops kept prompts, as a change of the weights requires."""
        with self._lock:
            self._prefixes.clear()

    def _run(self) -> None:
        while not self._closed:
            with self._lock:
                if not self.step() and not self._closed:
                    self._changed.wait(1)
            time.sleep(0)  # lets other threads have the lock

    # Steps, under the lock -------------------------------------------------

    @torch.no_grad()
    def step(self) -> bool:
        """Reads a portion of waiting prompts and decodes a token of each running request.

        Returns:
            False if there is nothing to do.
        """
        with self._lock:
            if not (self._waiting or self._running or self._reading):
                return False
            try:
                self._sweep()
                self._prefill()
                self._decode()
            except BaseException as error:  # of the model itself: what slots hold is unknown
                for job in [*self._running, *filter(None, [self._reading])]:
                    job.handle.error = error
                self._running, self._reading = [], None
                self._cache.clear()
                self._changed.notify_all()
                if not isinstance(error, Exception):
                    raise
            self._changed.notify_all()
            return True

    def _sweep(self) -> None:
        """Ends what was cancelled or is late."""
        now = time.monotonic()
        for job in [*self._waiting, *self._running, *filter(None, [self._reading])]:
            late = job.deadline is not None and now > job.deadline
            if job.handle.cancelled or late:
                self._finish(job, 'cancelled' if job.handle.cancelled else 'deadline')

    def _prefill(self) -> None:
        budget = PREFILL_CHUNK
        while budget > 0 and (self._reading or self._admit()):
            job, slot = self._reading, len(self._running)
            assert job is not None
            request, start = job.handle.request, self._cache.lengths[slot]
            end = min(start + budget, len(request.keys))
            budget -= end - start
            logits = self.language.extend_slots(
                request.embeds[None, start:end], self._cache, [slot]
            )
            if end < len(request.keys):
                return
            self._reading = None
            self._running.append(job)
            self._choose([job], logits)
            if self._running and self._running[-1] is job:
                self._keep(list(request.keys), slot)

    def _admit(self) -> bool:
        """Takes the next waiting request into a slot, as far as its prompt is known."""
        if not self._waiting or len(self._running) >= self.slots:
            return False
        job, slot = self._waiting[0], len(self._running)
        if self.cache_bytes is not None:
            sizes = [other.size for other in self._running] + [job.size]
            if self._bytes(max(sizes)) * len(sizes) > self.cache_bytes:
                return False
        self._waiting.popleft()
        self._reading = job
        while len(self._cache.lengths) <= slot:
            self._cache.lengths.append(0)
        self._cache.lengths[slot] = 0
        keys = job.handle.request.keys
        for part in self._prefixes.find(keys[:-1]):  # the last one gives the logits
            self._cache.write(slot, part)
        job.handle.cached_tokens = self._cache.lengths[slot]
        self._counts['prompt_tokens'] += len(keys)
        self._counts['cached_tokens'] += job.handle.cached_tokens
        self._shrink()
        return True

    def _decode(self) -> None:
        if not self._running:
            return
        ids = torch.tensor([[job.answer[-1]] for job in self._running])
        embeds = self.language.embed(ids)
        logits = self.language.extend_slots(embeds, self._cache, range(len(ids)))
        self._choose(list(self._running), logits)

    def _choose(self, jobs: list[_Job], logits: Tensor) -> None:
        """Gives each request its next token, and ends those that are complete."""
        tokens = logits.argmax(-1)
        finite = logits.sum(-1).isfinite()
        for number, job in enumerate(jobs):
            if not job.sampler.plain:
                safe = logits[number].nan_to_num()
                tokens[number] = job.sampler.choose(safe, job.answer)
        chosen = zip(jobs, tokens.tolist(), finite.tolist(), logits, strict=True)
        for job, token, good, scores in chosen:
            if not good:
                job.handle.error = GenerationError(
                    f'the logits after {len(job.answer)} new tokens hold NaN or infinity, expected '
                    f'numbers: the weights are damaged, or {self._dtype()} overflows. Use '
                    "dtype='bfloat16' or dtype='float32'."
                )
                self._finish(job, None)
                continue
            count = job.handle.request.logprobs
            job.handle.put(token, None if count is None else _logprobs(scores, token, count))
            job.answer.append(token)
            self._counts['tokens'] += 1
            try:
                ended = job.rule.ends(job.answer)
            except Exception as error:  # of this answer's text alone
                job.handle.error = error
                self._finish(job, None)
                continue
            if ended or len(job.answer) >= job.limit:
                self._finish(job, 'stop' if ended else 'length')

    def _finish(self, job: _Job, reason: str | None) -> None:
        """Ends a request and frees its slot; without a reason its error was set."""
        job.handle.finish_reason = reason
        if job in self._waiting:
            self._waiting.remove(job)
        elif job is self._reading:
            self._reading = None
        else:
            slot, last = self._running.index(job), len(self._running) - 1
            if reason is not None:
                self._keep(job.keys[: self._cache.lengths[slot]], slot)
            else:
                self._cache.wipe(slot)
            self._running[slot] = self._running[last]
            self._running.pop()
            if slot != last:
                self._cache.move(last, slot)
            if self._reading:
                self._cache.move(last + 1, last)

    def _keep(self, keys: list[Any], slot: int) -> None:
        """Keeps a slot's keys and values for prompts that begin alike."""
        start = self._prefixes.missing_from(keys)
        if start < len(keys):
            self._prefixes.budget = self._room()
            if self._bytes(len(keys) - start) <= self._prefixes.budget:
                self._prefixes.add(keys, self._cache.read(slot, start, len(keys)))

    def _shrink(self) -> None:
        self._prefixes.shrink(self._room())

    def _room(self) -> int:
        """Bytes that prompts may be kept in."""
        if self.cache_bytes is None:
            return self._bytes(2 * self.language.max_tokens)
        jobs = [*self._running, *filter(None, [self._reading])]
        reserved = self._bytes(max((job.size for job in jobs), default=0)) * len(jobs)
        return max(self.cache_bytes - max(reserved, self._cache.nbytes), 0)

    def _bytes(self, positions: int) -> int:
        return positions * self._position_elements * self._dtype().itemsize

    def _dtype(self) -> torch.dtype:
        return self._cache.layers[0][0].dtype if self._cache.layers else self.language.dtype


def _logprobs(logits: Tensor, token: int, count: int) -> TokenLogprobs:
    logprobs = logits.log_softmax(-1)
    values, ids = logprobs.topk(min(count, len(logprobs)))
    top = list(zip(ids.tolist(), values.tolist(), strict=True))
    return TokenLogprobs(token, float(logprobs[token]), top)
