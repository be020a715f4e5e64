"""Implements a model for VLMEvalKit that answers in batches.

VLMEvalKit asks a local model one question at a time, and a model behind an API from several
threads at once (``--api-nproc``). This model is asked in the second way and answers in one batch
the questions that arrive together::

    from functools import partial
    from vlmeval.config import supported_VLM
    from mmllava.integrations.vlmeval import VLMEvalModel

    supported_VLM['mmllava'] = partial(VLMEvalModel, pretrained=FOLDER, batch_size=8)
"""

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from vlmeval.vlm.base import BaseModel

from mmllava.errors import PromptError
from mmllava.integrations.batched import BatchedModel, Request, load_for_questions, to_settings

WAIT_S = 0.05  # for further questions to arrive after the first


class VLMEvalModel(BaseModel):
    """Answers VLMEvalKit's messages, with text and images in their order.

    Args:
        pretrained: the checkpoint.
        model: a config or its name; None: the model is detected from the checkpoint, a folder.
        tower: CLIP's folder or hub id, if the checkpoint does not contain it.
        batch_size: maximum number of questions in one batch; ``--api-nproc`` should be at least
            as large.
        generation: ``max_new_tokens``, ``temperature``, ...; greedy and 1024 by default.
        settings: ``device``, ``dtype``, ``bits``, ``template``, as in `mmllava.load`.
    """

    INTERLEAVE = True
    is_api = True  # VLMEvalKit then asks from several threads

    def __init__(
        self,
        pretrained: str,
        model: str | None = None,
        tower: str | None = None,
        batch_size: int = 8,
        generation: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.batched = BatchedModel(
            load_for_questions(pretrained, model, tower, **settings), batch_size
        )
        self.settings = to_settings(generation or {})
        self._requests: queue.Queue[tuple[Request, Future]] = queue.Queue()
        threading.Thread(target=self._answer, daemon=True).start()

    def generate_inner(self, message: Sequence[dict[str, str]], dataset: Any = None) -> str:
        """Returns the answer to one message.

        Raises:
            PromptError: the message holds a video.
        """
        text, images = '', []
        for part in message:
            if part['type'] == 'image':
                text, images = f'{text}<image>\n', [*images, part['value']]
            elif part['type'] == 'text':
                text += part['value']
            else:
                raise PromptError(
                    f'a message holds {part["type"]}, expected text and images. Leave it out.'
                )
        future: Future = Future()
        self._requests.put((Request(text, images, self.settings), future))
        return future.result()

    def _answer(self) -> None:
        """Answers requests, in batches of those that arrive together, until the process ends."""
        while True:
            batch = [self._requests.get()]
            try:
                while len(batch) < self.batched.batch_size:
                    batch.append(self._requests.get(timeout=WAIT_S))
            except queue.Empty:
                pass
            try:
                answers = self.batched([request for request, _ in batch])
            except Exception:
                self._answer_one_by_one(batch)
                continue
            for (_, future), answer in zip(batch, answers, strict=True):
                future.set_result(answer)

    def _answer_one_by_one(self, batch: Sequence[tuple[Request, Future]]) -> None:
        """Answers one by one, so that each thread gets its own answer or its own error."""
        for request, future in batch:
            try:
                future.set_result(self.batched([request])[0])
            except Exception as error:  # raised in the thread that asked
                future.set_exception(error)
