"""The plain values handed between floors. No torch in this file."""

from dataclasses import dataclass

IGNORE_INDEX = -100  # label of a token that the loss skips; fixed by torch's cross_entropy
IMAGE_TOKEN_INDEX = -200  # id that stands for one whole image; LLaVA's own number
IMAGE_TAG = '<image>'  # the same in text


@dataclass(frozen=True)
class Turn:
    """One message. ``text`` None asks the model to write it."""

    role: str  # 'user' or 'assistant'
    text: str | None


@dataclass(frozen=True)
class Segment:
    """A run of prompt text. ``learn`` marks what the model must produce."""

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
        """Images that the prompt expects."""
        return self.input_ids.count(IMAGE_TOKEN_INDEX)
