"""Floor 3. How llava-tiny's tower begins: each patch learns to say in words what it shows."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import BaseDataset
from torch import Tensor, nn

from mmllava.datasets.rows import picture_path, read_rows
from mmllava.errors import ConfigError, unknown_name
from mmllava.models.llava import Llava, Samples
from mmllava.models.pictures import Images, pictures_of
from mmllava.prompts.tokens import SPACE
from mmllava.registry import DATASETS, MODELS
from mmllava.structures import IGNORE_INDEX
from mmllava.tiny.scenes import COLORS, KINDS, PLACES, SIDE, SIZES, Scene
from mmllava.tiny.sentences import NUMBERS

#: whether a thing's centre lies in a patch
_THERE = ('no', 'thing')
#: and of the thing one word each: kind, colour, size, place, how many-th it is from the left
_GROUPS = (_THERE, KINDS, COLORS, tuple(SIZES), tuple(PLACES), NUMBERS[1:])
_THERE_WEIGHT = 3  # of the first, which is the hardest: a centre may lie near a patch's border


def things_of(scene: Scene) -> list[dict[str, Any]]:
    """Each thing's centre, ``x`` and ``y`` in pixels, and its ``words``, one of each group."""
    return [
        dict(x=t.x, y=t.y, words=[t.kind, t.color, t.size, t.place, NUMBERS[rank]])
        for rank, t in enumerate(scene.things, 1)
    ]


@DATASETS.register_module()
class SceneDataset(BaseDataset):
    """Pictures with the things in them: a JSON list of ``{"image": ..., "things": [...]}``.

    Args:
        ann_file: the file.
        img_root: folder that its picture paths are below.
        pipeline: to a packed sample, with ``algorithm_keys=['things']``.

    Raises:
        DataError: it cannot be read, is no JSON or is empty, or a path leads out of ``img_root``.
    """

    def __init__(self, ann_file: str, img_root: str, pipeline: Sequence[Any] = ()) -> None:
        self.img_root = img_root
        super().__init__(ann_file=ann_file, pipeline=list(pipeline))

    def load_data_list(self) -> list[dict[str, Any]]:
        """Reads the file; called by mmengine."""
        rows = read_rows(self.ann_file)
        return [
            dict(img_path=picture_path(row['image'], self.img_root), things=row['things'])
            for row in rows
        ]

    def digest(self) -> str:
        """16 hex digits of what the file holds."""
        return hashlib.sha256(Path(self.ann_file).read_bytes()).hexdigest()[:16]


@MODELS.register_module()
class PatchNamer(Llava):
    """A LLaVA of which tower, projector and tables of words learn, from words for patches.

    What the projector makes of a patch is looked up in both tables of words, as if the language
    model had read nothing else: where a thing's centre lies it is to give the thing's words,
    elsewhere ``no``. A text would say the same of a picture in some fifty tokens, none of which
    tells where to look. The blocks of the language model get no gradient.

    Args:
        settings: those of `Llava`.

    Raises:
        ConfigError: the tokenizer has no piece of its own for one of the words.
    """

    def loss(self, images: Images, data_samples: Samples) -> dict[str, Tensor]:
        """Mode ``loss``: cross entropy of the words of each group, summed over the groups.

        Args:
            images: as in `Llava.forward`, one for each sample.
            data_samples: each with ``things``, as `things_of` gives them.

        Returns:
            ``loss``, and ``tokens`` and ``slots``, both the number of patches.

        Raises:
            ConfigError: the tokenizer, or the vocabulary here, lacks one of the words.
        """
        pictures = [picture for image in images for picture in pictures_of(image)]
        states = torch.stack(self.extract_feat(pictures, [(SIDE, SIDE)] * len(pictures)))
        lm = self.language.lm
        table = lm.lm_head.weight + lm.model.embed_tokens.weight
        scores = lm.model.norm(states) @ table.T
        wanted = self.wanted([sample.things for sample in data_samples])
        losses = [
            nn.functional.cross_entropy(
                scores[..., ids].flatten(0, 1),
                words.flatten().to(scores.device),
                ignore_index=IGNORE_INDEX,
            )
            for ids, words in zip(self.word_ids, wanted, strict=True)
        ]
        # Several processes wait for a gradient of every weight that is trained.
        rest = sum(parameter.sum() for parameter in lm.model.layers.parameters())
        count = losses[0].new_tensor(wanted[0].numel())
        loss = _THERE_WEIGHT * losses[0] + sum(losses[1:]) + 0 * rest
        return dict(loss=loss, tokens=count, slots=count)

    @cached_property
    def word_ids(self) -> list[Tensor]:
        """The ids ``(W,)`` of the W words of each group."""
        ids = {word: self.tokenizer.find(f'{SPACE}{word}') for group in _GROUPS for word in group}
        parts = [word for word, id_ in ids.items() if id_ is None]
        if parts:
            raise ConfigError(
                f'the tokenizer has no piece of its own for {", ".join(parts)}, and a patch gives '
                'whole words. Take the tokenizer that tools/tiny/make_data.py makes.'
            )
        return [torch.tensor([ids[word] for word in group]) for group in _GROUPS]

    def wanted(self, pictures: Sequence[Sequence[Mapping[str, Any]]]) -> list[Tensor]:
        """For each group, which of its words each patch is to give: ``(P, N)`` of P pictures.

        Args:
            pictures: the things of each.

        Raises:
            ConfigError: a word that no group has.
        """
        side = math.isqrt(self.vision_tower.num_patches)
        wanted = [torch.full((len(pictures), side * side), IGNORE_INDEX) for _ in _GROUPS]
        wanted[0].zero_()
        for number, things in enumerate(pictures):
            for thing in things:
                column, row = (int(thing[axis] * side // SIDE) for axis in 'xy')
                words = (_THERE[1], *thing['words'])
                for group, target, word in zip(_GROUPS, wanted, words, strict=True):
                    if word not in group:
                        raise unknown_name('word of a patch', word, group)
                    target[number, row * side + column] = group.index(word)
        return wanted
