"""Implements mmpretrain's caption and VQA inferencers for LLaVA."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from PIL import Image

from mmllava.apis.mmpretrain_patch import ImageCaptionInferencer, VisualQuestionAnsweringInferencer
from mmllava.datasets import LoadImage
from mmllava.datasets.collate import collate
from mmllava.errors import ConfigError, ImageError, PromptError
from mmllava.generation.config import GENERATION_SETTINGS
from mmllava.images.annotate import annotate, side_by_side
from mmllava.images.load import list_images, load_image
from mmllava.registry import INFERENCERS, TRANSFORMS

_LOADERS = ('LoadImageFromFile', 'LoadImage')


class _LlavaInferencer:
    """Loads images of any form with Pillow and runs the config's pipeline on them.

    Generation settings (``max_new_tokens``, ``num_beams``, ...) of a call override those of
    the config.
    """

    forward_kwargs = GENERATION_SETTINGS

    def _init_pipeline(self, cfg: Config) -> Compose:
        """Builds the test pipeline with `LoadImage` in place of its loading step."""
        steps = cfg.test_dataloader.dataset.pipeline
        exif = any(s.get('exif', False) for s in steps if _name(s) == 'LoadImage')
        rest = [TRANSFORMS.build(step) for step in steps if _name(step) not in _LOADERS]
        return Compose([LoadImage(exif=exif), *rest])

    def preprocess(self, inputs: Sequence[dict], batch_size: int = 1) -> Iterator[dict]:
        """Yields batches of the pipeline's output."""
        samples = map(self.prepare, inputs)
        yield from map(collate, self._get_chunk_data(samples, batch_size))

    def prepare(self, item: dict) -> dict:
        """Runs the pipeline on one input; its question is kept even if the config drops it.

        Args:
            item: ``img``, an image or a list of images, and ``question`` if there is one.

        Returns:
            A sample for ``collate``.
        """
        sample = self.pipeline(dict(item))
        if 'question' in item:
            sample['data_samples'].set_field(item['question'], 'question')
        return sample

    @torch.no_grad()
    def forward(self, inputs: dict, **generation: Any) -> Sequence[Any]:
        """Predicts one batch of `preprocess`."""
        data = self.model.data_preprocessor(inputs, False)
        return self.model(**data, mode='predict', **generation)

    def predict_all(
        self, inputs: Sequence[dict], show_dir: str | Path | None = None
    ) -> list[dict[str, Any]]:
        """Predicts one batch; an image that cannot be read does not stop the others.

        Returns:
            One record per input: ``image`` with the answer, or with ``error``.
        """
        records: list[dict[str, Any]] = [dict(image=str(item['img'])) for item in inputs]
        samples = {}
        for number, item in enumerate(inputs):
            try:
                samples[number] = self.prepare(item)
            except ImageError as error:
                records[number]['error'] = str(error)
        if samples:
            preds = self.forward(collate(list(samples.values())))
            self.visualize([inputs[k] for k in samples], preds, show_dir=show_dir)
            for number, answer in zip(samples, self.postprocess(preds, None), strict=True):
                records[number] |= answer
        return records

    def visualize(
        self,
        ori_inputs: Sequence[dict],
        preds: Sequence[Any],
        show: bool = False,
        show_dir: str | Path | None = None,
    ) -> list[Image.Image] | None:
        """Draws the images with their text below, to show in a viewer or save as PNG files."""
        if not show and show_dir is None:
            return None
        drawings = []
        for number, (sample, pred) in enumerate(zip(ori_inputs, preds, strict=True)):
            source = sample['img'] if isinstance(sample['img'], list) else [sample['img']]
            image = side_by_side([load_image(one) for one in source])
            drawing = annotate(image, self._text(pred))
            if show_dir is not None:
                save_drawing(drawing, source[0] if source else None, show_dir, number)
            if show:
                drawing.show()
            drawings.append(drawing)
        return drawings


@INFERENCERS.register_module(name='ImageCaptionInferencer')
class CaptionInferencer(_LlavaInferencer, ImageCaptionInferencer):
    """Captions images: paths, folders, Pillow images, BGR arrays, or a list of them."""

    visualize_kwargs: ClassVar[set[str]] = {'show', 'show_dir'}

    def __call__(
        self, images: Any, return_datasamples: bool = False, batch_size: int = 1, **kwargs: Any
    ) -> list:
        """Returns the captions, one per image.

        Raises:
            PromptError: a question is given.
        """
        if isinstance(return_datasamples, str):
            raise PromptError(
                f'this model captions, and got the question {return_datasamples!r}. Use a model '
                "of task vqa: its name ends in _vqa, or its config says task='vqa'."
            )
        _check_batch_size(batch_size)
        return super().__call__(images, return_datasamples, batch_size, **kwargs)

    def _inputs_to_list(self, inputs: Any) -> list[dict]:
        images = _to_list(inputs)
        if any(isinstance(image, list) and not image for image in images):
            raise ImageError('there is no image to caption, expected one or more. Give an image.')
        return [dict(img=image) for image in images]

    def _text(self, pred: Any) -> list[str]:
        return [pred.get('pred_caption')]


@INFERENCERS.register_module(name='VisualQuestionAnsweringInferencer')
class VQAInferencer(_LlavaInferencer, VisualQuestionAnsweringInferencer):
    """Answers questions about images.

    Takes one image and one question; several images with one question for all, or with as
    many questions; or one image with several questions. A list in place of an image holds the
    images of one sample: ``[[a, b]]`` asks about both at once. None in place of the images asks
    a question without an image.
    """

    visualize_kwargs: ClassVar[set[str]] = {'show', 'show_dir'}

    def __call__(
        self,
        images: Any,
        questions: str | Sequence[str] | None = None,
        return_datasamples: bool = False,
        batch_size: int = 1,
        **kwargs: Any,
    ) -> list:
        """Returns the answers, one per pair of image and question.

        Raises:
            PromptError: no question is given, or the numbers of images and questions differ.
        """
        _check_batch_size(batch_size)
        if questions is None:
            raise PromptError(
                'this model answers questions, and got none: inference_model(model, image, '
                'question). To caption, use a model of task caption: its name ends in _caption.'
            )
        images = _to_list(images)
        questions = [questions] * len(images) if isinstance(questions, str) else list(questions)
        if len(images) == 1:
            images = images * len(questions)
        if len(images) != len(questions):
            raise PromptError(
                f'{len(images)} images were given with {len(questions)} questions. Give one '
                'question for all images, one for each, or several for one image.'
            )
        inputs = [dict(img=i, question=q) for i, q in zip(images, questions, strict=True)]
        return super(VisualQuestionAnsweringInferencer, self).__call__(
            inputs, return_datasamples, batch_size, **kwargs
        )

    def _inputs_to_list(self, inputs: list[dict]) -> list[dict]:
        return inputs

    def _text(self, pred: Any) -> list[str]:
        return [f'Q: {pred.get("question")}', f'A: {pred.get("pred_answer")}']


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ConfigError(f'batch_size is {batch_size}, expected 1 or more. Change it.')


def _to_list(inputs: Any) -> list:
    """Converts the inputs to one entry per sample: an image, or the list of its images."""
    if inputs is None:
        return [[]]
    if isinstance(inputs, (str, Path)) and Path(inputs).is_dir():
        return list_images(inputs)
    images = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    if not images:
        raise ImageError('the list of images is empty, expected one or more. Give an image.')
    return [list(image) if isinstance(image, tuple) else image for image in images]


def _name(step: dict) -> str:
    return str(step['type']).split('.')[-1]


def save_drawing(
    drawing: Image.Image,
    source: Any,
    folder: str | Path,
    number: int,
    question_id: int | str | None = None,
) -> None:
    """Saves a drawing as PNG, named after the image's file, or by its number.

    A question's id is appended: there may be several questions about an image.

    Raises:
        ConfigError: the folder is the one that the image is in, so that a drawing could replace
            the image.
    """
    folder, stem = Path(folder), str(number)
    if isinstance(source, (str, Path)):
        if Path(source).resolve().parent == folder.resolve():
            raise ConfigError(
                f'drawings would be saved in the folder of the images, {folder}, and could replace '
                'them. Name another folder.'
            )
        stem = Path(source).stem
    if question_id is not None:
        name = re.sub(r'[^\w.-]+', '_', str(question_id))
        stem = f'{stem}_{name}' if source is not None else name
    folder.mkdir(parents=True, exist_ok=True)
    drawing.save(folder / f'{stem}.png')
