"""Types of all benchmarks: an item, and the description of a benchmark."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Id = int | str
Scores = dict[str, float]


@dataclass(frozen=True, slots=True)
class Item:
    """One question, or one image to caption, with its annotation.

    Args:
        id: of the question, or of the image to caption.
        fields: strings that a protocol formats its question with.
        image: path of the image, its encoded bytes, or None for a question without one.
        image_id: name or number of the image, where the benchmark has one.
        truth: the annotated answer or references; None where only a server has it.
        groups: the groups that scores are split by: kind of group -> group.
        choices: number of options to choose from.
        record: parts of the annotation that a submission repeats.
        asked: False for an item that only the submission file has.
    """

    id: Id
    fields: Mapping[str, str] = field(default_factory=dict)
    image: str | bytes | None = None
    image_id: Id | None = None
    truth: Any = None
    groups: Mapping[str, str] = field(default_factory=dict)
    choices: int = 0
    record: Mapping[str, Any] = field(default_factory=dict)
    asked: bool = True


#: an answer for each item; None where it is missing
Answers = Sequence[str | None]


@dataclass(frozen=True)
class Benchmark:
    """A benchmark: how its files are read, its answers scored and submitted.

    Args:
        title: its name in papers.
        read: paths by role (positional names), settings (keyword-only names) -> items.
        score: items with truth and their answers -> scores; None where a server or judge scores.
        submit: items and answers -> file name -> content, as a server or judge takes it:
            a string, records for .jsonl and tables, anything else as JSON.
        per_sample: items with truth and their answers -> scores of each sample by itself.
        caption: images are captioned; there is no question.
        signed: ``submit`` takes the name of the model as its third argument.
    """

    title: str
    read: Callable[..., list[Item]]
    score: Callable[[Sequence[Item], Answers], Scores] | None = None
    submit: Callable[..., dict[str, Any]] | None = None
    per_sample: Callable[[Sequence[Item], Answers], list[Scores]] | None = None
    caption: bool = False
    signed: bool = False

    def files(self, items: Sequence[Item], answers: Answers, model_id: str) -> dict[str, Any]:
        """Returns file name -> content as a server or judge takes it; {} where there is neither."""
        if self.submit is None:
            return {}
        return self.submit(items, answers, *([model_id] if self.signed else []))
