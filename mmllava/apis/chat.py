"""Holds a dialogue about images: several turns, streamed, with its cache reused."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from mmllava.apis.inferencers import CaptionInferencer
from mmllava.datasets.collate import collate
from mmllava.errors import PromptError
from mmllava.generation.config import check_streamable
from mmllava.generation.stream import stream_ids, stream_text
from mmllava.images.load import ImageSource
from mmllava.io import write_json
from mmllava.models.llava import Llava
from mmllava.models.preprocessor import flatten_images, original_sizes
from mmllava.models.splice import splice
from mmllava.prompts.encode import encode
from mmllava.prompts.presets import override
from mmllava.prompts.render import render
from mmllava.structures import IMAGE_TAG, IMAGE_TOKEN_INDEX, Turn


class ChatSession:
    """Holds one dialogue with a model.

    An answer equals that of the whole dialogue sent at once. The vision tower runs once per
    image, and the keys and values of the longest common prefix of the new prompt and the
    earlier ones are reused. An answer that is cancelled stays in the dialogue as far as it was
    given.

    Args:
        model: a `Llava` with weights, such as ``get_model`` gives.
        seed: makes sampled answers repeatable; the answer after n answered turns uses
            ``seed + n``.
        generation: settings that override the config's, such as ``temperature=0.2`` or
            ``max_new_tokens=512``; each call may override them again.

    Example:
        >>> chat = ChatSession(get_model('llava-7b-v1.5_caption', pretrained=PATH))
        >>> chat.ask('What is on the sofa?', images='demo/cat-dog.png')
        'A cat and a dog.'
        >>> for piece in chat.stream('What colour is the dog?'):
        ...     print(piece, end='', flush=True)
    """

    def __init__(self, model: Llava, seed: int | None = None, **generation: Any) -> None:
        self.model, self.seed = model, seed
        self.generation = override(model.generation_cfg, generation)
        self._pipeline = CaptionInferencer(model)
        self.reset()

    def reset(self) -> None:
        """Clears the dialogue and its images."""
        self.turns: list[Turn] = []
        self.images: list[str] = []  # source of each, for `save`
        self._features: list[torch.Tensor] = []
        self._fed: list[Any] = []  # key of each position in the cache
        self._cache = self.model.language.new_cache()
        self._cancelled = False

    def cancel(self) -> None:
        """Stops the answer that is being streamed after its current token."""
        self._cancelled = True

    def ask(
        self,
        question: str,
        images: ImageSource | Sequence[ImageSource] | None = None,
        **generation: Any,
    ) -> str:
        """Returns the whole answer to the next question. Arguments as for `stream`."""
        return ''.join(self.stream(question, images, **generation))

    def stream(
        self,
        question: str,
        images: ImageSource | Sequence[ImageSource] | None = None,
        **generation: Any,
    ) -> Iterator[str]:
        """Yields the answer to the next question in pieces, as soon as they are final.

        Args:
            question: text; ``<image>`` marks the place of each image, without it images come
                first.
            images: image or images of this question.
            generation: settings of this answer, overriding the session's.

        Raises:
            ImageError: an image cannot be read.
            PromptError: the numbers of tags and images differ, or the dialogue fills the
                context. The dialogue is unchanged.
            ConfigError: unknown settings, or several beams, which cannot be streamed.
        """
        if not question.strip():
            raise PromptError('the question is empty. Write one, also with an image.')
        settings = override(self.generation, generation)
        check_streamable(settings)
        images = images if isinstance(images, (list, tuple)) else [images] * (images is not None)
        features = self._features + [f for image in images for f in self._encode(image)]
        asked = self.model.prompt_builder.ask(question, len(images))
        turns = [*self.turns, *asked[:-1]]
        embeds, keys = self._prompt([*self.turns, *asked], features)
        settings = self.model.language.limit_tokens(settings, len(keys))
        embeds = self._reuse(embeds, keys)
        self._cancelled, pieces = False, []
        try:
            for piece in self._answer(embeds, keys, settings):
                pieces.append(piece)
                yield piece
        finally:  # also when the caller stops listening
            text = _without_tags(''.join(pieces))
            if text:  # without any answer the dialogue is unchanged
                self.turns = [*turns, Turn('assistant', text)]
                self._features = features
                self.images += [_source_of(image) for image in images]
            else:  # its images are in the cache under indices that the next ones get
                self._fed = []

    def save(self, path: str | Path) -> None:
        """Writes the dialogue as LLaVA's instruction JSON, whole or not at all."""
        speakers = dict(user='human', assistant='gpt')
        turns = [{'from': speakers[turn.role], 'value': turn.text} for turn in self.turns]
        write_json(path, dict(images=self.images, conversations=turns))

    def _encode(self, image: ImageSource) -> list[torch.Tensor]:
        """Computes the features ``(N, D)`` of one image; returns them in a list."""
        model = self.model
        model.check_weights()
        sample = self._pipeline.pipeline(dict(img=image))
        data = model.data_preprocessor(collate([sample]))
        with torch.no_grad():
            images = flatten_images(data['images'][0])
            return model.extract_feat(images, original_sizes(sample['data_samples'], images))

    def _prompt(
        self, turns: Sequence[Turn], features: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, list[Any]]:
        """Computes the embeddings ``(L, D)`` of a dialogue and a key for each position.

        The key is the token id, or (index of the image, index of the feature).
        """
        model = self.model
        model.check_weights()
        prompt = encode(
            render(model.prompt_builder.template, turns), model.tokenizer, len(features)
        )
        with torch.no_grad():
            embeds, _ = splice(model.language, prompt, features)
        keys: list[Any] = []
        indices = iter(range(len(features)))
        for id_ in prompt.input_ids:
            if id_ == IMAGE_TOKEN_INDEX:
                index = next(indices)
                keys += [(index, position) for position in range(len(features[index]))]
            else:
                keys.append(id_)
        return embeds, keys

    def _reuse(self, embeds: torch.Tensor, keys: list[Any]) -> torch.Tensor:
        """Crops the cache to the prefix that the prompt shares; returns the other embeddings."""
        same = 0
        for old, new in zip(self._fed, keys[:-1], strict=False):
            if old != new:
                break
            same += 1
        cached = self._cache.get_seq_length()
        same = min(same, cached)  # the last id of an answer is not fed
        if not same:
            self._cache = self.model.language.new_cache()
        elif same < cached:
            self._cache.crop(same - cached)  # a negative length is the number to remove
        return embeds[None, same:]

    def _answer(
        self, embeds: torch.Tensor, keys: list[Any], settings: dict[str, Any]
    ) -> Iterator[str]:
        """Yields the pieces of an answer and keeps ``_fed`` equal to the cache's content."""
        tokenizer = self.model.tokenizer
        seed = None if self.seed is None else self.seed + len(self.turns) // 2
        stop = self.model.prompt_builder.template.stop
        ids = stream_ids(self.model.language, embeds, self._cache, tokenizer, settings, seed, stop)
        self._fed = list(keys)
        try:
            yield from stream_text(self._listen(ids), tokenizer.decode, stop)
        except GeneratorExit:
            raise
        except BaseException:  # interrupted in a layer: the cache's content is unknown
            self._fed, self._cache = [], self.model.language.new_cache()
            raise

    def _listen(self, ids: Iterator[int]) -> Iterator[int]:
        for token in ids:
            yield token
            if self._cancelled:
                return
            self._fed.append(token)  # it is fed when the next one is asked for


def _without_tags(text: str) -> str:
    """Removes image tags that the model wrote, also those that nested ones leave behind."""
    while IMAGE_TAG in text:
        text = text.replace(IMAGE_TAG, '')
    return text


def _source_of(image: ImageSource) -> str:
    return str(image) if isinstance(image, (str, Path)) else type(image).__name__
