"""Pretrains llava-tiny's tower: each patch predicts what it shows."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import BaseDataset
from torch import Tensor, nn

from mmllava.datasets.llava_json import image_path, read_annotations
from mmllava.errors import ConfigError, DataError, unknown_name
from mmllava.models.llava import Llava, Samples
from mmllava.models.preprocessor import Images, flatten_images
from mmllava.registry import DATASETS, MODELS
from mmllava.structures import IGNORE_INDEX
from projects.llava_tiny.scenes import COLORS, KINDS, PLACES, SIDE, SIZES, Scene
from projects.llava_tiny.sentences import NUMBERS

#: whether a thing's centre lies in a patch
_THERE = ('no', 'thing')
_COUNT = NUMBERS[1:]
#: and of the thing one word each: kind, colour, size, place, how many-th it is from the left; how
#: many of its kind there are, how many of its kind and colour, and the how many-th these are
_GROUPS = (_THERE, KINDS, COLORS, tuple(SIZES), tuple(PLACES), *[_COUNT] * 4)
#: as many scores of a patch: one for each word, and how far right the centre is
_SCORES = sum(map(len, _GROUPS)) + 1
_THERE_WEIGHT = 3  # of the first group, the hardest: a centre may lie near a patch's border
_ACROSS_WEIGHT, _ACROSS_BETA = 5, 0.02  # of how far right a centre is; errors below are squared
_GREY = 0.3  # share of the images whose colours are taken
_LUMINANCE = (0.299, 0.587, 0.114)  # shares of red, green and blue in it


def things_of(scene: Scene) -> list[dict[str, Any]]:
    """Describes each thing: centre ``x`` and ``y`` in pixels, ``words``, one of each group."""
    kinds = [thing.kind for thing in scene.things]
    looks = [(thing.color, thing.kind) for thing in scene.things]
    order = list(dict.fromkeys(looks))
    things = []
    for rank, (thing, look) in enumerate(zip(scene.things, looks, strict=True), 1):
        counts = (rank, kinds.count(thing.kind), looks.count(look), order.index(look) + 1)
        words = [thing.kind, thing.color, thing.size, thing.place, *(NUMBERS[k] for k in counts)]
        things.append(dict(x=thing.x, y=thing.y, words=words))
    return things


def _is_row(row: Any) -> bool:
    if not isinstance(row, Mapping) or not isinstance(row.get('image'), str):
        return False
    things = row.get('things')
    return isinstance(things, list) and all(
        isinstance(thing, Mapping) and {'x', 'y', 'words'} <= thing.keys() for thing in things
    )


@DATASETS.register_module()
class SceneDataset(BaseDataset):
    """Dataset of images and the things in them: a JSON list of ``{"image", "things"}``.

    Args:
        ann_file: the file.
        img_root: folder that its image paths are below.
        pipeline: to a packed sample, with ``algorithm_keys=['things']``.

    Raises:
        DataError: it cannot be read, is no JSON or is empty, a row is of another form, or a path
            leads out of ``img_root``.
    """

    def __init__(self, ann_file: str, img_root: str, pipeline: Sequence[Any] = ()) -> None:
        self.img_root = img_root
        super().__init__(ann_file=ann_file, pipeline=list(pipeline))

    def load_data_list(self) -> list[dict[str, Any]]:
        """Reads the file; called by mmengine."""
        rows = read_annotations(self.ann_file)
        for number, row in enumerate(rows):
            if not _is_row(row):
                raise DataError(
                    f'row {number} of {self.ann_file} is {str(row)[:80]}; expected '
                    '{"image": path, "things": [...]}, as '
                    'projects/llava_tiny/tools/make_data.py writes them.'
                )
        return [
            dict(img_path=image_path(row['image'], self.img_root), things=row['things'])
            for row in rows
        ]

    def digest(self) -> str:
        """16 hex digits of what the file holds."""
        return hashlib.sha256(Path(self.ann_file).read_bytes()).hexdigest()[:16]


@MODELS.register_module()
class PatchSupervisedLlava(Llava):
    """LLaVA whose tower is trained to predict the content of each patch.

    The first channels of the projector's first layer are taken for scores: whether a thing's
    centre lies in the patch, and of the thing its kind, colour, size, place and rank from the
    left, how many are of its kind, and how many and how many-th those of its kind and colour are;
    one more for how far right its centre is. A text would say the same of an image in some
    fifty tokens, none of which tells where to look. What comes after that layer gets no gradient.

    Of some images the colours are taken, and not asked for: a kind is known by its shape then,
    whatever its colour, also in colours that no image of training gives it.

    Args:
        settings: those of `Llava`.

    Raises:
        ConfigError: the projector has too few channels.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        channels = self.language.config.hidden_size
        if channels < _SCORES:
            raise ConfigError(
                f'the projector has {channels} channels, and a patch has {_SCORES} scores to give. '
                f'Set lang_encoder.hidden_size to {_SCORES} or more.'
            )

    def loss(self, images: Images, data_samples: Samples) -> dict[str, Tensor]:
        """Computes cross entropy of each word group, and smooth L1 of horizontal positions.

        Args:
            images: as in `Llava.forward`, one for each sample.
            data_samples: each with ``things``, as `things_of` gives them.

        Returns:
            ``loss``, and ``tokens`` and ``slots``, both the number of patches.

        Raises:
            ConfigError: a thing has a word that no group has.
            DataError: a sample has no ``things``, or not exactly one image.
        """
        images = [flatten_images(image) for image in images]
        for own, sample in zip(images, data_samples, strict=True):
            if 'things' not in sample or [len(image) for image in own] != [1]:
                raise DataError(
                    'PatchSupervisedLlava learns from one image and its things; a sample has '
                    f'{len(own)} images and {", ".join(sample.keys()) or "nothing"}. Train it on '
                    "SceneDataset, with algorithm_keys=['things'] in PackInputs."
                )
        pixels = torch.cat([image for own in images for image in own])
        grey = torch.rand(len(pixels), device=pixels.device) < _GREY
        pixels = torch.where(grey[:, None, None, None], without_color(pixels), pixels)
        *scores, far = self.scores(pixels)
        words, across = self.wanted([sample.things for sample in data_samples])
        words, across = [group.to(pixels.device) for group in words], across.to(pixels.device)
        words[_GROUPS.index(COLORS)][grey] = IGNORE_INDEX
        there = words[0] == 1
        losses = [_cross_entropy(s, target) for s, target in zip(scores, words, strict=True)]
        loss = _THERE_WEIGHT * losses[0] + sum(losses[1:])
        loss = loss + _ACROSS_WEIGHT * _smooth_l1(far[there, 0], across[there])
        # Several processes wait for a gradient of every weight that is trained.
        rest = sum(parameter.sum() for parameter in self.parameters())
        count = loss.new_tensor(across.numel())
        return dict(loss=loss + 0 * rest, tokens=count, slots=count)

    def scores(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Predicts the content of P images' N patches.

        Args:
            pixels: ``(P, 3, S, S)``, normalised.

        Returns:
            For each group the logits of its words, ``(P, N, words)``; then how far right a
            centre is, ``(P, N, 1)``.
        """
        channels = self.projector.layers[0](self.vision_tower(pixels))
        return channels[..., :_SCORES].split([*map(len, _GROUPS), 1], dim=-1)

    def wanted(self, images: Sequence[Sequence[Mapping[str, Any]]]) -> tuple[list[Tensor], Tensor]:
        """Builds the targets of P images' N patches, each ``(P, N)``.

        Args:
            images: the things of each.

        Returns:
            For each group the number of the word in it, -100 where there is none; and how far
            right a thing's centre is, 0 to 1 of the image's width, 0 where there is none.

        Raises:
            ConfigError: a thing has a word that no group has.
        """
        side = math.isqrt(self.vision_tower.num_patches)
        shape = len(images), side * side
        wanted = [torch.full(shape, IGNORE_INDEX) for _ in _GROUPS]
        wanted[0].zero_()
        across = torch.zeros(shape)
        for number, things in enumerate(images):
            for thing in things:
                column, row = (int(thing[axis] * side // SIDE) for axis in 'xy')
                patch = number, row * side + column
                across[patch] = thing['x'] / SIDE
                words = (_THERE[1], *thing['words'])
                for group, target, word in zip(_GROUPS, wanted, words, strict=True):
                    if word not in group:
                        raise unknown_name('word of a patch', word, group)
                    target[patch] = group.index(word)
        return wanted, across


def without_color(pixels: Tensor) -> Tensor:
    """Converts normalised images ``(P, 3, S, S)`` to luminance, equal in all three channels."""
    weights = pixels.new_tensor(_LUMINANCE).view(3, 1, 1)
    return (weights * pixels).sum(1, keepdim=True).expand_as(pixels)


def _cross_entropy(scores: Tensor, words: Tensor) -> Tensor:
    """Averages over the patches that have a word; 0 where none has."""
    total = nn.functional.cross_entropy(
        scores.flatten(0, 1), words.flatten(), ignore_index=IGNORE_INDEX, reduction='sum'
    )
    return total / (words != IGNORE_INDEX).sum().clamp(min=1)


def _smooth_l1(found: Tensor, wanted: Tensor) -> Tensor:
    """Averages; 0 of nothing."""
    total = nn.functional.smooth_l1_loss(found, wanted, reduction='sum', beta=_ACROSS_BETA)
    return total / max(1, wanted.numel())
