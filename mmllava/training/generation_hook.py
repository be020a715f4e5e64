"""A model in training is asked the same few questions again and again."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from mmengine.visualization import LocalVisBackend
from PIL import Image

from mmllava.datasets.transforms import CLIPResize, LoadImage
from mmllava.errors import ConfigError, unknown_name
from mmllava.images.annotate import annotate, side_by_side
from mmllava.images.load import load_image
from mmllava.models.preprocessor import flatten_images
from mmllava.prompts.encode import encode
from mmllava.prompts.render import render
from mmllava.registry import HOOKS
from mmllava.structures import IMAGE_TAG, Segment
from mmllava.training.hooks import write_beside
from mmllava.training.rng import preserve_training_state

_PANEL_PX = 336  # height of an image in a panel
_KEYS = ('image', 'question')
_ANSWERS = 'prompts/answers.jsonl'


@HOOKS.register_module()
class GenerationHook(Hook):
    """Answers fixed prompts every so many steps, before the first and after the last too.

    Images and answers go to ``WORK_DIR/prompts/iter_N.png``, a panel a prompt, and to the
    visualizer's backends; answers as text to ``WORK_DIR/prompts/answers.jsonl``. Training is
    the same to the bit with and without. Answers are greedy.

    Args:
        prompts: ``dict(image=PATH, question=TEXT)`` each; one may be left out. With template
            ``plain`` an image is captioned, and the question says nothing.
        interval: steps from one asking to the next.
        max_new_tokens: length of an answer.

    Raises:
        ConfigError: a setting cannot work, or the pipeline of training has no LoadImage and
            CLIPResize, with which an image is read here too.
        ImageError: an image cannot be read; before the first step.
    """

    priority = 'LOW'

    def __init__(
        self, prompts: Sequence[Mapping[str, str]], interval: int = 100, max_new_tokens: int = 64
    ) -> None:
        if not prompts or interval < 1 or max_new_tokens < 1:
            raise ConfigError(
                f'GenerationHook has {len(prompts)} prompts, interval={interval} and '
                f'max_new_tokens={max_new_tokens}, expected 1 or more of each.'
            )
        for prompt in prompts:
            for key in prompt:
                if key not in _KEYS:
                    raise unknown_name('key of a prompt', key, _KEYS)
            if not any(prompt.get(key) for key in _KEYS):
                raise ConfigError('GenerationHook has a prompt without image and question.')
        self.prompts, self.interval = [dict(prompt) for prompt in prompts], interval
        self.max_new_tokens = max_new_tokens

    def before_train(self, runner: Runner) -> None:
        """Reads the images, and asks the model as it is."""
        steps = getattr(runner.train_loop.dataloader.dataset, 'pipeline', None)
        steps = [
            s for s in getattr(steps, 'transforms', []) if isinstance(s, (LoadImage, CLIPResize))
        ]
        if len(steps) != 2:
            raise ConfigError(
                f'the pipeline of training has {len(steps)} of LoadImage and CLIPResize, expected '
                'both: GenerationHook reads its images with them.'
            )
        self._samples = [_read(prompt.get('image'), steps) for prompt in self.prompts]
        self._images = [_small(prompt.get('image')) for prompt in self.prompts]
        if is_main_process():
            _cut_answers(Path(runner.work_dir) / _ANSWERS, runner.iter)
        if runner.iter == 0:
            self._ask_all(runner, 0)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Asks where it is time."""
        step = runner.iter + 1
        if step % self.interval == 0 or step == runner.max_iters:
            self._ask_all(runner, step)

    def _ask_all(self, runner: Runner, step: int) -> None:
        """In every process alike; one writes."""
        model = runner.bare_model
        with preserve_training_state(runner.model), torch.no_grad():
            answers = [
                self._ask(model, prompt.get('question') or '', *sample)
                for prompt, sample in zip(self.prompts, self._samples, strict=True)
            ]
        if is_main_process():
            self._write(runner, step, answers)

    def _ask(self, model: Any, question: str, inputs: list[Any], sample: BaseDataElement) -> str:
        builder = model.prompt_builder
        images = model.data_preprocessor(dict(inputs=[inputs], data_samples=[sample]))['images']

        def prompt(_: BaseDataElement, count: int) -> Any:
            if builder.template.style == 'plain':
                segments = [Segment(IMAGE_TAG * count)]
            else:
                segments = render(builder.template, builder.ask(question, count))
            return encode(segments, builder.tokenizer, count)

        batch = model.prepare_inputs(images, [sample], prompt, 'left')
        settings = dict(do_sample=False, max_new_tokens=self.max_new_tokens)
        stop = builder.template.stop
        (ids,) = model.language.generate(batch.embeds, batch.mask, model.tokenizer, settings, stop)
        return builder.decode_answer(ids)

    def _write(self, runner: Runner, step: int, answers: Sequence[str]) -> None:
        file, panels, lines = Path(runner.work_dir) / _ANSWERS, [], []
        file.parent.mkdir(exist_ok=True)
        for prompt, image, answer in zip(self.prompts, self._images, answers, strict=True):
            line = dict(step=step, **prompt, answer=answer)
            lines.append(json.dumps(line, ensure_ascii=False) + '\n')
            panels.append(_panel(image, prompt, answer))
        with open(file, 'a', encoding='utf-8') as opened:
            opened.writelines(lines)
        page = side_by_side(panels)
        page.save(file.with_name(f'iter_{step}.png'))
        for backend in runner.visualizer._vis_backends.values():
            if not isinstance(backend, LocalVisBackend):  # it would write the same file again
                backend.add_image('prompts', np.asarray(page), step=step)


def _read(image: str | None, steps: Sequence[Any]) -> tuple[list[Any], BaseDataElement]:
    """A prompt's pixels and sample, as the pipeline of training would give them."""
    if not image:
        return [], BaseDataElement()
    results = dict(img_path=image)
    for step in steps:
        results = step(results)
    views = torch.from_numpy(np.ascontiguousarray(results['img']))
    pixels = views if views.ndim == 4 else views.permute(2, 0, 1).contiguous()
    return flatten_images(pixels), BaseDataElement(metainfo=dict(ori_shape=results['ori_shape']))


def _small(source: str | None) -> Image.Image:
    """A prompt's image as a panel shows it; read once, it may be gone when the run ends."""
    if not source:
        return side_by_side([])
    image = load_image(source)
    return image.resize((max(1, round(image.width * _PANEL_PX / image.height)), _PANEL_PX))


def _cut_answers(file: Path, step: int) -> None:
    """Leaves out what a killed run wrote after ``step``, to which the model will come again."""
    if not file.is_file():
        return
    kept = []
    for line in file.read_text(encoding='utf-8').splitlines(keepends=True):
        try:
            known = json.loads(line)['step'] <= step
        except (ValueError, KeyError, TypeError):  # cut by the kill
            continue
        if known and step > 0 and line.endswith('\n'):
            kept.append(line)
    write_beside(file, ''.join(kept))


def _panel(image: Image.Image, prompt: Mapping[str, str], answer: str) -> Image.Image:
    asked = [f'Q: {prompt["question"]}'] if prompt.get('question') else []
    return annotate(image, [*asked, f'A: {answer}'])
