"""Answers the questions of an evaluation harness: grouped by settings, batched, in order."""

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

MAX_NEW_TOKENS = 1024  # the default of LLaVA's own scripts
#: settings for other models; images are prepared as the checkpoint's config says
_IGNORED = ('until', 'image_aspect_ratio', 'image_sizes', 'use_cache')
_SAMPLING = ('temperature', 'top_p', 'top_k')


@dataclass(frozen=True)
class Request:
    """Holds a question, its images and its generation settings."""

    question: str
    images: Sequence[Any] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


class BatchedModel:
    """Answers requests in batches.

    Args:
        model: of task ``vqa``; its preset should add nothing to a question.
        batch_size: maximum number of requests, of equal settings, in one batch.
    """

    def __init__(self, model: Llava, batch_size: int = 1) -> None:
        if type(batch_size) is not int or batch_size < 1:
            raise ConfigError(f'batch_size is {batch_size!r}, expected a whole number from 1 on.')
        self.model, self.batch_size = model, batch_size
        self._inferencer = VQAInferencer(model)

    def __call__(
        self, requests: Sequence[Request], done: Callable[[int], None] = lambda _: None
    ) -> list[str]:
        """Returns the answers, in the order of the requests.

        Long questions are asked first, so that a lack of memory shows at once.

        Args:
            requests: in any order.
            done: called with the size of each batch that has been answered.

        Raises:
            PromptError, ImageError: a request cannot be asked. An empty answer instead would be
                scored.
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
        samples = [
            self._inferencer.prepare(
                dict(img=list(requests[k].images), question=requests[k].question)
            )
            for k in batch
        ]
        outputs = self._inferencer.forward(collate(samples), **requests[batch[0]].settings)
        return [sample.get('pred_answer') for sample in outputs]


def load_for_questions(
    pretrained: str | Path, model: str | None = None, tower: str | None = None, **settings: Any
) -> Llava:
    """Loads a model whose preset adds nothing to a question.

    Args:
        pretrained: the checkpoint.
        model: a config or its name, such as ``llava-7b-v1.5_chat``; None: the model is detected
            from the checkpoint, a folder.
        tower: if ``model`` is None, as in `mmllava.load`.
        settings: ``device``, ``dtype``, ``bits``, ``template``, ...

    Raises:
        ConfigError: both ``tower`` and ``model`` are given.
    """
    if model is None:
        return load(pretrained, task='chat', tower=tower, **settings)
    if tower is not None:
        raise ConfigError(
            f'tower={tower!r} and model={model!r} exclude each other: a config names its own '
            'tower. Leave tower out.'
        )
    return get_model(model, pretrained=str(pretrained), task='vqa', preset='vqa_open', **settings)


def to_settings(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Converts a task's ``generation_kwargs`` as LLaVA's own adapter in lmms-eval does.

    A temperature above 0 means sampling, whatever ``do_sample`` says; without a temperature
    ``do_sample`` decides. ``until`` is ignored: every task has one (two line breaks by default),
    and that adapter never cuts there.
    """
    settings = {k: v for k, v in kwargs.items() if v is not None and k not in _IGNORED}
    if 'temperature' in settings:
        settings['do_sample'] = settings['temperature'] > 0
    if not settings.get('do_sample'):
        settings = {k: v for k, v in settings.items() if k not in _SAMPLING}
        settings['do_sample'] = False
    settings.setdefault('max_new_tokens', MAX_NEW_TOKENS)
    return settings


def _length(request: Request) -> int:
    return 2000 * len(request.images) + len(request.question)
