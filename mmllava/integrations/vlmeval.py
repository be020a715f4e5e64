"""A model for VLMEvalKit that answers in batches.

VLMEvalKit asks a local model one question at a time, and a model behind an API from several
threads at once (``--api-nproc``). This one takes the second way and answers together what is
asked at the same time::

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

WAIT_S = 0.05  # for others to ask, once one has


class VLMEvalModel(BaseModel):
    """Answers VLMEvalKit's questions, text and pictures in the order of its messages.

    Args:
        pretrained: the checkpoint.
        model: a config or its name; None: a folder that says what it is.
        tower: CLIP's folder or hub id, where the checkpoint has none inside.
        batch_size: questions in one batch, at most; ``--api-nproc`` should be as much or more.
        generation: ``max_new_tokens``, ``temperature``, ...; greedy and 1024 by default.
        settings: ``device``, ``dtype``, ``bits``, ``template``, as in `mmllava.load`.
    """

    INTERLEAVE = True
    is_api = True  # so that it is asked from several threads

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
        self.answerer = BatchedModel(
            load_for_questions(pretrained, model, tower, **settings), batch_size
        )
        self.settings = to_settings(generation or {})
        self._asked: queue.Queue[tuple[Request, Future]] = queue.Queue()
        threading.Thread(target=self._answer, daemon=True).start()

    def generate_inner(self, message: Sequence[dict[str, str]], dataset: Any = None) -> str:
        """The answer to one message.

        Raises:
            PromptError: the message holds a video.
        """
        text, pictures = '', []
        for part in message:
            if part['type'] == 'image':
                text, pictures = f'{text}<image>\n', [*pictures, part['value']]
            elif part['type'] == 'text':
                text += part['value']
            else:
                raise PromptError(f'a message holds {part["type"]}; expected text and pictures.')
        future: Future = Future()
        self._asked.put((Request(text, pictures, self.settings), future))
        return future.result()

    def _answer(self) -> None:
        """Answers what is asked, as much as came together, until the process ends."""
        while True:
            batch = [self._asked.get()]
            try:
                while len(batch) < self.answerer.batch_size:
                    batch.append(self._asked.get(timeout=WAIT_S))
            except queue.Empty:
                pass
            try:
                answers = self.answerer([request for request, _ in batch])
            except Exception:
                self._answer_alone(batch)
                continue
            for (_, future), answer in zip(batch, answers, strict=True):
                future.set_result(answer)

    def _answer_alone(self, batch: Sequence[tuple[Request, Future]]) -> None:
        """One by one, so that each thread gets its own answer or its own error."""
        for request, future in batch:
            try:
                future.set_result(self.answerer([request])[0])
            except Exception as error:  # raised in the thread that asked
                future.set_exception(error)
