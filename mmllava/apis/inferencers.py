"""mmpretrain's caption and VQA inferencers, reading pictures as LLaVA does."""

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


class _PillowPictures:
    """What both inferencers share: pictures of any kind through the config's pipeline.

    Generation settings (``max_new_tokens``, ``num_beams``, ...) can be given to a
    call, over those of the config.
    """

    forward_kwargs = GENERATION_SETTINGS

    def _init_pipeline(self, cfg: Config) -> Compose:
        """The test pipeline, with our decoder in the place of whatever loads there."""
        steps = cfg.test_dataloader.dataset.pipeline
        exif = any(s.get('exif', False) for s in steps if _name(s) == 'LoadImage')
        rest = [TRANSFORMS.build(step) for step in steps if _name(step) not in _LOADERS]
        return Compose([LoadImage(exif=exif), *rest])

    def preprocess(self, inputs: Sequence[dict], batch_size: int = 1) -> Iterator[dict]:
        """Batches of the pipeline's output."""
        samples = map(self._sample, inputs)
        yield from map(collate, self._get_chunk_data(samples, batch_size))

    def _sample(self, item: dict) -> dict:
        """One input through the pipeline, its question kept whether or not the config packs it."""
        sample = self.pipeline(dict(item))
        if 'question' in item:
            sample['data_samples'].set_field(item['question'], 'question')
        return sample

    @torch.no_grad()
    def forward(self, inputs: dict, **generation: Any) -> Sequence[Any]:
        """One batch of `preprocess`, predicted."""
        data = self.model.data_preprocessor(inputs, False)
        return self.model(**data, mode='predict', **generation)

    def predict_all(
        self, inputs: Sequence[dict], show_dir: str | Path | None = None
    ) -> list[dict[str, Any]]:
        """Predicts one batch in which a picture that fails does not stop the others.

        Returns:
            One record for each input: ``image`` with the answer, or with ``error``.
        """
        records: list[dict[str, Any]] = [dict(image=str(item['img'])) for item in inputs]
        samples = {}
        for number, item in enumerate(inputs):
            try:
                samples[number] = self._sample(item)
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
        """The pictures with their text below, shown in a viewer or saved as PNG files."""
        if not show and show_dir is None:
            return None
        pictures = []
        for number, (sample, pred) in enumerate(zip(ori_inputs, preds, strict=True)):
            source = sample['img'] if isinstance(sample['img'], list) else [sample['img']]
            picture = side_by_side([load_image(one) for one in source])
            picture = annotate(picture, self._text(pred))
            if show_dir is not None:
                save_drawing(picture, source[0] if source else None, show_dir, number)
            if show:
                picture.show()
            pictures.append(picture)
        return pictures


@INFERENCERS.register_module(name='ImageCaptionInferencer')
class CaptionInferencer(_PillowPictures, ImageCaptionInferencer):
    """Captions pictures: paths, folders, Pillow pictures, BGR arrays, or a list of them."""

    visualize_kwargs: ClassVar[set[str]] = {'show', 'show_dir'}

    def __call__(
        self, images: Any, return_datasamples: bool = False, batch_size: int = 1, **kwargs: Any
    ) -> list:
        """The captions, one for each picture.

        Raises:
            PromptError: a question came along.
        """
        if isinstance(return_datasamples, str):
            raise PromptError(
                f'this model captions, and got the question {return_datasamples!r}. Use a model '
                "of task vqa: its name ends in _vqa, or its config says task='vqa'."
            )
        _check_batch_size(batch_size)
        return super().__call__(images, return_datasamples, batch_size, **kwargs)

    def _inputs_to_list(self, inputs: Any) -> list[dict]:
        pictures = _pictures(inputs)
        if any(isinstance(p, list) and not p for p in pictures):
            raise ImageError('there is no picture to caption; expected one picture or more.')
        return [dict(img=picture) for picture in pictures]

    def _text(self, pred: Any) -> list[str]:
        return [pred.get('pred_caption')]


@INFERENCERS.register_module(name='VisualQuestionAnsweringInferencer')
class VQAInferencer(_PillowPictures, VisualQuestionAnsweringInferencer):
    """Answers questions about pictures.

    One picture and one question; several pictures with one question for all,
    or with as many questions; or one picture with several questions. In the place
    of a picture may stand a list, the pictures of one sample: ``[[a, b]]`` asks about
    both at once. None is a question without a picture.
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
        """The answers, one for each pair of picture and question.

        Raises:
            PromptError: no question, or numbers of pictures and questions do not fit.
        """
        _check_batch_size(batch_size)
        if questions is None:
            raise PromptError(
                'this model answers questions, and got none: inference_model(model, picture, '
                'question). To caption, use a model of task caption: its name ends in _caption.'
            )
        pictures = _pictures(images)
        asked = [questions] * len(pictures) if isinstance(questions, str) else list(questions)
        if len(pictures) == 1:
            pictures = pictures * len(asked)
        if len(pictures) != len(asked):
            raise PromptError(
                f'{len(pictures)} pictures came with {len(asked)} questions. Give one question '
                'for all pictures, one for each, or several for one picture.'
            )
        inputs = [dict(img=p, question=q) for p, q in zip(pictures, asked, strict=True)]
        return super(VisualQuestionAnsweringInferencer, self).__call__(
            inputs, return_datasamples, batch_size, **kwargs
        )

    def _inputs_to_list(self, inputs: list[dict]) -> list[dict]:
        return inputs

    def _text(self, pred: Any) -> list[str]:
        return [f'Q: {pred.get("question")}', f'A: {pred.get("pred_answer")}']


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ConfigError(f'batch_size is {batch_size}, expected 1 or more.')


def _pictures(inputs: Any) -> list:
    """One entry a sample: a picture, or the list of its pictures."""
    if inputs is None:
        return [[]]
    if isinstance(inputs, (str, Path)) and Path(inputs).is_dir():
        return list_images(inputs)
    pictures = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    if not pictures:
        raise ImageError('the list of pictures is empty; expected one picture or more.')
    return [list(p) if isinstance(p, tuple) else p for p in pictures]


def _name(step: dict) -> str:
    return str(step['type']).split('.')[-1]


def save_drawing(
    drawing: Image.Image,
    source: Any,
    folder: str | Path,
    number: int,
    question_id: int | str | None = None,
) -> None:
    """Saves a drawing as PNG, named after the picture's file, or by its number.

    With a question's id, that is added: there may be several questions about a picture.

    Raises:
        ConfigError: the folder is the one that the picture is in: a drawing could
            take the place of an original.
    """
    folder, stem = Path(folder), str(number)
    if isinstance(source, (str, Path)):
        if Path(source).resolve().parent == folder.resolve():
            raise ConfigError(
                f'pictures would be drawn into their own folder, {folder}, over the originals. '
                'Name another folder.'
            )
        stem = Path(source).stem
    if question_id is not None:
        name = re.sub(r'[^\w.-]+', '_', str(question_id))
        stem = f'{stem}_{name}' if source is not None else name
    folder.mkdir(parents=True, exist_ok=True)
    drawing.save(folder / f'{stem}.png')
