"""Many questions to one model, as other programs ask them: grouped, batched, in order."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmllava.apis.inferencers import VQAInferencer
from mmllava.apis.load import load
from mmllava.apis.mmpretrain_patch import get_model
from mmllava.datasets.collate import collate
from mmllava.errors import ConfigError
from mmllava.models import Llava

MAX_NEW_TOKENS = 1024  # where nothing is said: that of LLaVA's own scripts
#: what a task may ask of other models: pictures are prepared as the checkpoint says
_NOT_OURS = ('until', 'image_aspect_ratio', 'image_sizes', 'use_cache')
_SAMPLING = ('temperature', 'top_p', 'top_k')


@dataclass(frozen=True)
class Request:
    """A question with its pictures, and how to answer it."""

    question: str
    pictures: Sequence[Any] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


class BatchedModel:
    """Answers requests in batches.

    Args:
        model: of task ``vqa``; its preset should add nothing to a question.
        batch_size: requests of equal settings in one batch.
    """

    def __init__(self, model: Llava, batch_size: int = 1) -> None:
        if type(batch_size) is not int or batch_size < 1:
            raise ConfigError(f'batch_size is {batch_size!r}, expected a whole number from 1 on.')
        self.model, self.batch_size = model, batch_size
        self._inferencer = VQAInferencer(model)

    def __call__(
        self, requests: Sequence[Request], done: Callable[[int], None] = lambda _: None
    ) -> list[str]:
        """The answers, in the order of the requests.

        Long questions come first: what does not fit into memory shows at once.

        Args:
            requests: in any order.
            done: called with the size of each batch that has been answered.

        Raises:
            PromptError, ImageError: a request cannot be asked. There is no answer that
                says so, and an empty one would be scored as an answer.
        """
        answers = [''] * len(requests)
        groups: dict[str, list[int]] = {}
        for number, request in enumerate(requests):
            groups.setdefault(json.dumps(request.settings, sort_keys=True), []).append(number)
        for numbers in groups.values():
            numbers.sort(key=lambda k: -_length(requests[k]))
            for start in range(0, len(numbers), self.batch_size):
                batch = numbers[start : start + self.batch_size]
                for number, text in zip(batch, self._ask(requests, batch), strict=True):
                    answers[number] = text
                done(len(batch))
        return answers

    def _ask(self, requests: Sequence[Request], batch: Sequence[int]) -> list[str]:
        asked = [requests[k] for k in batch]
        samples = [
            self._inferencer._sample(dict(img=list(one.pictures), question=one.question))
            for one in asked
        ]
        outputs = self._inferencer.forward(collate(samples), **asked[0].settings)
        return [sample.get('pred_answer') for sample in outputs]


def load_for_questions(
    pretrained: str | Path, model: str | None = None, tower: str | None = None, **settings: Any
) -> Llava:
    """A model that is asked exactly what it is given.

    Args:
        pretrained: the checkpoint.
        model: a config or its name, as ``llava-7b-v1.5_chat``; None: the checkpoint is a
            folder that says what it is.
        tower: where ``model`` is None, as in `mmllava.load`.
        settings: ``device``, ``dtype``, ``bits``, ``template``, ...

    Raises:
        ConfigError: ``tower`` beside ``model``.
    """
    if model is None:
        return load(pretrained, task='chat', tower=tower, **settings)
    if tower is not None:
        raise ConfigError(f'tower={tower!r} goes without model: the config names its own.')
    return get_model(model, pretrained=str(pretrained), task='vqa', preset='vqa_open', **settings)


def to_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """A task's ``generation_kwargs`` as ours, read as LLaVA's adapter in lmms-eval reads them.

    A temperature above 0 means sampling, whatever ``do_sample`` says; without one,
    ``do_sample`` decides. ``until`` is passed over: every task has one (two line breaks where
    it says nothing), and that adapter never cuts at it.
    """
    settings = {k: v for k, v in given.items() if v is not None and k not in _NOT_OURS}
    if 'temperature' in settings:
        settings['do_sample'] = settings['temperature'] > 0
    if not settings.get('do_sample'):
        settings = {k: v for k, v in settings.items() if k not in _SAMPLING}
        settings['do_sample'] = False
    settings.setdefault('max_new_tokens', MAX_NEW_TOKENS)
    return settings


def _length(request: Request) -> int:
    return 2000 * len(request.pictures) + len(request.question)
