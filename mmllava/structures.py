"""Defines the values that several floors share: constants of LLaVA, turns, encoded prompts."""

from dataclasses import dataclass

IGNORE_INDEX = -100  # label of a token that the loss skips; fixed by torch's cross_entropy
IMAGE_TOKEN_INDEX = -200  # id that stands for one whole image; LLaVA's own number
IMAGE_TAG = '<image>'  # the same in text
IMAGE_TOKENS = ('<im_start>', '<im_end>')  # around an image, where a checkpoint has them
# OpenAI CLIP's preprocessor_config.json, for values in 0..1, order RGB.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
VICUNA_SYSTEM = (  # system prompt of Vicuna v1.1 and LLaVA v1.5
    'A chat between a curious user and an artificial intelligence assistant. '
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)


@dataclass(frozen=True)
class Turn:
    """A message; ``text`` None asks the model to write it."""

    role: str  # 'user' or 'assistant'
    text: str | None


@dataclass(frozen=True)
class Segment:
    """A part of the prompt text; ``learn`` marks what the model is trained to produce."""

    text: str
    learn: bool = False


@dataclass(frozen=True)
class EncodedPrompt:
    """Token ids and labels of equal length L; an image is one IMAGE_TOKEN_INDEX."""

    input_ids: list[int]
    labels: list[int]

    def __post_init__(self) -> None:
        if len(self.input_ids) != len(self.labels):
            raise ValueError(f'{len(self.input_ids)} ids but {len(self.labels)} labels')

    @property
    def num_images(self) -> int:
        """Counts the images that the prompt expects."""
        return self.input_ids.count(IMAGE_TOKEN_INDEX)


@dataclass(frozen=True)
class EncodedSample:
    """An encoded training sample.

    Args:
        prompt: ids and labels.
        image_lengths: tokens of each image.
        tokens: length, images included, before training cuts the sample.
        limit: number of tokens at which training cuts.
        learned: tokens with a label among the first ``limit``.
    """

    prompt: EncodedPrompt
    image_lengths: list[int]
    tokens: int
    limit: int
    learned: int
