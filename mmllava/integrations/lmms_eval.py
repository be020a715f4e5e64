"""Implements lmms-eval's model: ``lmms-eval --model mmllava --model_args pretrained=FOLDER``."""

from collections.abc import Sequence
from typing import Any

from accelerate import Accelerator
from lmms_eval.api.instance import Instance
from lmms_eval.api.model import lmms
from lmms_eval.models.registry_v2 import ModelManifest
from tqdm import tqdm

from mmllava.errors import ConfigError, ImageError, PromptError
from mmllava.integrations.batched import BatchedModel, Request, load_for_questions, to_settings


class LmmsEvalModel(lmms):
    """Answers lmms-eval's ``generate_until`` tasks in batches.

    The task's question is put into the checkpoint's template, and its images are prepared as
    the checkpoint's config says.

    Args:
        pretrained: the checkpoint.
        model: a config or its name; None: the model is detected from the checkpoint, a folder.
        tower: CLIP's folder or hub id, if the checkpoint does not contain it.
        device: None is a GPU if there is one; ``accelerate launch`` gives each process its own.
        batch_size: lmms-eval's ``--batch_size``.
        settings: ``dtype``, ``bits``, ``template``, as in `mmllava.load`.
    """

    is_simple = True

    def __init__(
        self,
        pretrained: str,
        model: str | None = None,
        tower: str | None = None,
        device: str | None = None,
        batch_size: int | str = 1,
        **settings: Any,
    ) -> None:
        super().__init__()
        if not str(batch_size).isdecimal():
            raise ConfigError(f'batch_size is {batch_size!r}, expected a whole number from 1 on.')
        self.accelerator = Accelerator()
        self._rank = self.accelerator.process_index
        self._world_size = self.accelerator.num_processes
        if self._world_size > 1:
            device = str(self.accelerator.device)
        self.model = load_for_questions(pretrained, model, tower, device=device, **settings)
        self.batched = BatchedModel(self.model, int(batch_size))

    @property
    def device(self) -> Any:
        """Device of the model."""
        return next(self.model.parameters()).device

    def generate_until(self, requests: Sequence[Instance]) -> list[str]:
        """Returns the answers, in order.

        Raises:
            ConfigError: a request cannot be asked; the message names its task.
        """
        asked = [self._request(*instance.args) for instance in requests]
        bar = tqdm(total=len(asked), disable=self.rank > 0, desc='mmllava')
        try:
            answers = self.batched(asked, bar.update)
        except (ImageError, PromptError) as error:
            tasks = ', '.join(sorted({str(instance.task_name) for instance in requests}))
            raise ConfigError(f'a question of {tasks} cannot be asked: {error}') from error
        finally:
            bar.close()
        for instance, answer in zip(requests, answers, strict=True):
            self.cache_hook.add_partial('generate_until', instance.args[:2], answer)
        return answers

    def _request(
        self, context: str, settings: dict, to_visual: Any, doc_id: int, task: str, split: str
    ) -> Request:
        images = to_visual(self.task_dict[task][split][doc_id]) or []
        return Request(context, images, to_settings(settings))

    def loglikelihood(self, requests: Sequence[Instance]) -> list:
        """Refuses: this model writes answers and does not score given ones."""
        raise self._refuse(requests, 'log-likelihoods')

    def generate_until_multi_round(self, requests: Sequence[Instance]) -> list:
        """Refuses tasks of several rounds."""
        raise self._refuse(requests, 'several rounds')

    def _refuse(self, requests: Sequence[Instance], what: str) -> ConfigError:
        tasks = ', '.join(sorted({str(instance.task_name) for instance in requests}))
        return ConfigError(
            f'{tasks} needs {what}, and mmllava answers tasks of output_type generate_until '
            'only. Choose a task of that type.'
        )


def manifest() -> ModelManifest:
    """Returns the manifest for lmms-eval's entry point ``lmms_eval.models``."""
    path = f'{LmmsEvalModel.__module__}.{LmmsEvalModel.__name__}'
    return ModelManifest(model_id='mmllava', simple_class_path=path)
