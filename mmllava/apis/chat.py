"""A dialogue about pictures: several turns, streamed, with nothing computed twice."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from mmllava.apis.inferencers import CaptionInferencer
from mmllava.datasets.collate import collate
from mmllava.errors import PromptError
from mmllava.generation.config import check_streamable
from mmllava.generation.stream import stream_ids, stream_text
from mmllava.images.load import Picture
from mmllava.io import write_json
from mmllava.models.image_inputs import flatten_images, original_sizes
from mmllava.models.llava import Llava
from mmllava.models.splice import splice
from mmllava.prompts.encode import encode
from mmllava.prompts.presets import override
from mmllava.prompts.render import render
from mmllava.structures import IMAGE_TAG, IMAGE_TOKEN_INDEX, Turn


class ChatSession:
    """One dialogue with a model.

    An answer equals that of the whole dialogue sent at once. The vision tower
    runs once for each picture, and keys and values of earlier turns are kept as
    far as the new prompt begins with them. An answer that is cancelled stays in
    the dialogue as far as it was given.

    Args:
        model: a `Llava` with weights, such as ``get_model`` gives.
        seed: makes sampled answers repeatable; the answer after n answered turns uses
            ``seed + n``.
        generation: settings over the config's, such as ``temperature=0.2`` or
            ``max_new_tokens=512``; each call may give others.

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
        """Forgets the dialogue and its pictures."""
        self.turns: list[Turn] = []
        self.images: list[str] = []  # what each was given as, for `save`
        self._features: list[torch.Tensor] = []
        self._fed: list[Any] = []  # what each position of the cache stands for
        self._cache = self.model.language.new_cache()
        self._cancelled = False

    def cancel(self) -> None:
        """Ends the answer that is being streamed after its current token."""
        self._cancelled = True

    def ask(
        self, question: str, images: Picture | Sequence[Picture] | None = None, **generation: Any
    ) -> str:
        """The whole answer to one more question. Arguments as for `stream`."""
        return ''.join(self.stream(question, images, **generation))

    def stream(
        self, question: str, images: Picture | Sequence[Picture] | None = None, **generation: Any
    ) -> Iterator[str]:
        """Yields the answer to one more question in pieces, as they are certain.

        Args:
            question: text; ``<image>`` in it says where each picture belongs,
                without it pictures come first.
            images: picture or pictures that come with this question.
            generation: settings of this answer, over the session's.

        Raises:
            ImageError: a picture cannot be read.
            PromptError: tags and pictures differ in number, or the dialogue
                fills the context. The dialogue stays as it was.
            ConfigError: unknown settings, or several beams, which cannot be streamed.
        """
        if not question.strip():
            raise PromptError('the question is empty. Write one, also with a picture.')
        settings = override(self.generation, generation)
        check_streamable(settings)
        pictures = images if isinstance(images, (list, tuple)) else [images] * (images is not None)
        features = self._features + [f for p in pictures for f in self._encode(p)]
        asked = self.model.prompt_builder.ask(question, len(pictures))
        turns = [*self.turns, *asked[:-1]]
        embeds, keys = self._prompt([*self.turns, *asked], features)
        settings = self.model.language.limit_tokens(settings, len(keys))
        embeds = self._reuse(embeds, keys)
        self._cancelled, said = False, []
        try:
            for piece in self._answer(embeds, keys, settings):
                said.append(piece)
                yield piece
        finally:  # also when the caller stops listening
            text = _without_tags(''.join(said))
            if text:  # without a word of answer the dialogue stays as it was
                self.turns = [*turns, Turn('assistant', text)]
                self._features = features
                self.images += [_name_of(p) for p in pictures]
            else:  # its pictures are in the cache under numbers that others get now
                self._fed = []

    def save(self, path: str | Path) -> None:
        """Writes the dialogue in LLaVA's instruction JSON, whole or not at all."""
        speakers = dict(user='human', assistant='gpt')
        talk = [{'from': speakers[turn.role], 'value': turn.text} for turn in self.turns]
        write_json(path, dict(images=self.images, conversations=talk))

    def _encode(self, picture: Picture) -> list[torch.Tensor]:
        """Features ``(N, D)`` of one picture, in a list."""
        model = self.model
        model.check_weights()
        sample = self._pipeline.pipeline(dict(img=picture))
        data = model.data_preprocessor(collate([sample]))
        with torch.no_grad():
            pictures = flatten_images(data['images'][0])
            return model.extract_feat(pictures, original_sizes(sample['data_samples'], pictures))

    def _prompt(
        self, turns: Sequence[Turn], features: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, list[Any]]:
        """Embeddings ``(L, D)`` of a dialogue, and what each position stands for."""
        model = self.model
        model.check_weights()
        prompt = encode(
            render(model.prompt_builder.template, turns), model.tokenizer, len(features)
        )
        with torch.no_grad():
            embeds, _ = splice(model.language, prompt, features)
        keys: list[Any] = []
        numbers = iter(range(len(features)))
        for id_ in prompt.input_ids:
            if id_ == IMAGE_TOKEN_INDEX:
                number = next(numbers)
                keys += [(number, row) for row in range(len(features[number]))]
            else:
                keys.append(id_)
        return embeds, keys

    def _reuse(self, embeds: torch.Tensor, keys: list[Any]) -> torch.Tensor:
        """Cuts the cache to what the prompt begins with; gives what is left to feed."""
        same = 0
        for old, new in zip(self._fed, keys[:-1], strict=False):
            if old != new:
                break
            same += 1
        held = self._cache.get_seq_length()
        same = min(same, held)  # the last id of an answer is not fed
        if not same:
            self._cache = self.model.language.new_cache()
        elif same < held:
            self._cache.crop(same - held)  # a negative length is how many to take off
        return embeds[None, same:]

    def _answer(
        self, embeds: torch.Tensor, keys: list[Any], settings: dict[str, Any]
    ) -> Iterator[str]:
        """The pieces of an answer; keeps account of what the cache holds."""
        tokenizer = self.model.tokenizer
        seed = None if self.seed is None else self.seed + len(self.turns) // 2
        stop = self.model.prompt_builder.template.stop
        ids = stream_ids(self.model.language, embeds, self._cache, tokenizer, settings, seed, stop)
        self._fed = list(keys)
        try:
            yield from stream_text(self._listen(ids), tokenizer.decode, stop)
        except GeneratorExit:
            raise
        except BaseException:  # cut off in the middle of a layer: what the cache holds is unsure
            self._fed, self._cache = [], self.model.language.new_cache()
            raise

    def _listen(self, ids: Iterator[int]) -> Iterator[int]:
        for token in ids:
            yield token
            if self._cancelled:
                return
            self._fed.append(token)  # it is fed when the next one is asked for


def _without_tags(text: str) -> str:
    """A tag that the model wrote is no picture, nor is what is left of two in one another."""
    while IMAGE_TAG in text:
        text = text.replace(IMAGE_TAG, '')
    return text


def _name_of(picture: Picture) -> str:
    return str(picture) if isinstance(picture, (str, Path)) else type(picture).__name__
